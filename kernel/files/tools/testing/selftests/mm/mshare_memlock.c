// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: locked memory of a region counts against RLIMIT_MEMLOCK of the user
 * that locked it, in any region, until it is unlocked or freed.
 */
#include "mshare_helpers.h"

/* Users that run nothing else in the guest. */
#define ALICE	61001
#define BOB	61002

/* In a peer: become a user with that limit, who may enter regions. */
PEER_FN(pf_become)
{
	struct rlimit rl = { .rlim_cur = b, .rlim_max = b };

	PEER_UNUSED();
	if (setrlimit(RLIMIT_MEMLOCK, &rl))
		return -errno;
	return neg(setresuid(a, a, a));
}

PEER_FN(pf_mlock)
{
	PEER_UNUSED();
	return neg(mlock((void *)a, b));
}

PEER_FN(pf_munlock)
{
	PEER_UNUSED();
	return neg(munlock((void *)a, b));
}

PEER_FN(pf_mmap_locked)
{
	PEER_UNUSED();
	return map_fd((void *)a, b, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED,
		      -1, 0);
}

PEER_FN(pf_mremap)
{
	long ret = do_mremap((void *)a, b, c, d, (void *)e);

	PEER_UNUSED();
	return ret < 0 ? ret : 0;
}

/*
 * Map, lock, and create a region from it, of mode 0666, as read-write sharer.
 */
PEER_FN(pf_donate_locked)
{
	long err;

	PEER_UNUSED();
	err = map_anon((void *)b, d, RW) ?: neg(mlock((void *)b, d));
	if (err)
		return err;
	umask(0);
	return sys_mshare((const char *)a, (void *)b, c,
			  O_CREAT | O_EXCL | O_RDWR, 0666);
}

/*
 * How many pages the peer's user may still lock in the region. Found by locking
 * memory that is mapped for this purpose.
 */
static long left(struct peer *p, char *scratch, int max)
{
	int n;

	for (n = max; n > 0; n--) {
		if (!peer_call(p, pf_mlock, (long)scratch, n * PAGE)) {
			if (peer_call(p, pf_munlock, (long)scratch, n * PAGE))
				return -EIO;
			break;
		}
	}
	return n;
}

/* The root directory lets every user create regions, for one test. */
static long open_root(void)
{
	return neg(chmod(MSHARE_DIR, 01777));
}

static void close_root(void)
{
	chmod(MSHARE_DIR, 0755);
}

/*
 * A region open to all users, with a scratch mapping, and two of its users.
 * Memory that they had locked in the test before is given back when a worker of
 * the kernel frees that region.
 */
#define SCRATCH	(self->addr + 64 * MEG)
#define MAX	64

#define MAKE_USERS(limit)						\
do {									\
	unsigned long __limit = (limit);				\
	mode_t __mask = umask(0);					\
									\
	ASSERT_EQ(0, peer_start(&alice));				\
	ASSERT_EQ(0, peer_start(&bob));					\
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,	\
				O_CREAT | O_EXCL | O_RDWR, 0666));	\
	umask(__mask);							\
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));			\
	ASSERT_EQ(0, map_anon(SCRATCH, MAX * PAGE, RW));		\
	ASSERT_EQ(0, peer_call(&alice, pf_become, ALICE, __limit));	\
	ASSERT_EQ(0, peer_call(&bob, pf_become, BOB, __limit));	\
	ATTACH_PEER(&alice, O_RDWR);					\
	ATTACH_PEER(&bob, O_RDWR);					\
	ASSERT_TRUE(WAIT_FOR(left(&alice, SCRATCH, MAX) == __limit / PAGE, 30000)); \
	ASSERT_TRUE(WAIT_FOR(left(&bob, SCRATCH, MAX) == __limit / PAGE, 30000)); \
} while (0)

TEST_F(mshare, mlock_counts_until_unlock)
{
	struct peer alice, bob;

	MAKE_USERS(16 * PAGE);
	EXPECT_EQ(-ENOMEM, peer_call(&alice, pf_mlock, (long)self->addr,
				     17 * PAGE));
	EXPECT_EQ(16, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(0, peer_call(&alice, pf_mlock, (long)self->addr, 10 * PAGE));
	EXPECT_EQ(6, left(&alice, SCRATCH, MAX));
	/* Another user has a limit of its own; locking twice counts once. */
	EXPECT_EQ(16, left(&bob, SCRATCH, MAX));
	EXPECT_EQ(0, peer_call(&alice, pf_mlock, (long)self->addr, 12 * PAGE));
	EXPECT_EQ(0, peer_call(&bob, pf_mlock, (long)self->addr, 12 * PAGE));
	EXPECT_EQ(4, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(16, left(&bob, SCRATCH, MAX));
	EXPECT_EQ(0, peer_call(&alice, pf_munlock, (long)self->addr + 2 * PAGE,
			       5 * PAGE));
	EXPECT_EQ(9, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_call(&alice, pf_munlock, (long)self->addr, MEG));
	EXPECT_EQ(16, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(0, debug_check());
}

/* The exit of the process that locked it does not uncharge anything. */
TEST_F(mshare, charge_outlives_the_process)
{
	struct peer alice, bob, again;

	ASSERT_EQ(0, peer_start(&again));
	MAKE_USERS(16 * PAGE);
	ASSERT_EQ(0, peer_call(&again, pf_become, ALICE, 16 * PAGE));
	ATTACH_PEER(&again, O_RDWR);
	EXPECT_EQ(0, peer_call(&alice, pf_mlock, (long)self->addr, 16 * PAGE));
	EXPECT_EQ(0, peer_stop(&alice));
	EXPECT_EQ(0, left(&again, SCRATCH, MAX));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_call(&again, pf_munlock, (long)self->addr, MEG));
	EXPECT_EQ(16, left(&again, SCRATCH, MAX));
}

TEST_F(mshare, munmap_gives_back)
{
	struct peer alice, bob;

	MAKE_USERS(16 * PAGE);
	EXPECT_EQ(0, peer_call(&alice, pf_mlock, (long)self->addr, 16 * PAGE));
	EXPECT_EQ(0, peer_call(&alice, pf_munmap, (long)self->addr + PAGE,
			       3 * PAGE));
	EXPECT_EQ(3, left(&alice, SCRATCH, MAX));
	/* A mapping that replaces a locked one, also by another user. */
	EXPECT_EQ(0, map_anon(self->addr + 4 * PAGE, 2 * PAGE, RW));
	EXPECT_EQ(5, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(0, do_munmap(self->addr, MEG));
	EXPECT_EQ(16, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(0, debug_check());
}

TEST_F(mshare, mmap_locked_counts)
{
	struct peer alice, bob;

	MAKE_USERS(16 * PAGE);
	EXPECT_EQ(-EAGAIN, peer_call(&alice, pf_mmap_locked, (long)self->addr,
				     17 * PAGE));
	EXPECT_EQ(16, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(0, peer_call(&alice, pf_mmap_locked, (long)self->addr,
			       8 * PAGE));
	EXPECT_EQ(8, left(&alice, SCRATCH, MAX));
	/* Over itself: both the old and the new mapping must fit. */
	EXPECT_EQ(0, peer_call(&alice, pf_mmap_locked, (long)self->addr,
			       8 * PAGE));
	EXPECT_EQ(8, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, do_munmap(self->addr, MEG));
	EXPECT_EQ(16, left(&alice, SCRATCH, MAX));
}

TEST_F(mshare, mremap_counts)
{
	char *at = self->addr + 16 * MEG, *to = self->addr + 32 * MEG;
	struct peer alice, bob;

	MAKE_USERS(16 * PAGE);
	EXPECT_EQ(0, peer_call(&alice, pf_mmap_locked, (long)at, 4 * PAGE));
	EXPECT_EQ(12, left(&alice, SCRATCH, MAX));
	/* Grow in place, over the limit and within it. */
	EXPECT_EQ(-EAGAIN, peer_call(&alice, pf_mremap, (long)at, 4 * PAGE,
				     17 * PAGE, 0, 0));
	EXPECT_EQ(0, peer_call(&alice, pf_mremap, (long)at, 4 * PAGE,
			       6 * PAGE, 0, 0));
	EXPECT_EQ(10, left(&alice, SCRATCH, MAX));
	/* Move it, with the same length and longer. */
	EXPECT_EQ(0, peer_call(&alice, pf_mremap, (long)at, 6 * PAGE, 6 * PAGE,
			       MREMAP_MAYMOVE | MREMAP_FIXED, (long)to));
	EXPECT_EQ(10, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_call(&alice, pf_mremap, (long)to, 6 * PAGE, 9 * PAGE,
			       MREMAP_MAYMOVE | MREMAP_FIXED, (long)at));
	EXPECT_EQ(7, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(-EAGAIN, peer_call(&alice, pf_mremap, (long)at, 9 * PAGE,
				     17 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
				     (long)to));
	/* Leave it in place without the lock, and shorten it. */
	EXPECT_EQ(0, peer_call(&alice, pf_mremap, (long)at, 9 * PAGE, 9 * PAGE,
			       MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
			       (long)to));
	EXPECT_EQ(7, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(0, peer_call(&alice, pf_mremap, (long)to, 9 * PAGE, 2 * PAGE,
			       0, 0));
	EXPECT_EQ(14, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(0, debug_check());
}

/*
 * What was locked before it became a region still counts, and is given back
 * once.
 */
TEST_F(mshare, donated_locked_memory_counts)
{
	struct peer alice, bob;
	char *at = self->addr + 2 * self->granule;

	MAKE_USERS(16 * PAGE);
	ASSERT_EQ(0, open_root());
	EXPECT_EQ(0, peer_call(&alice, pf_donate_locked, (long)self->name2,
			       (long)at, (long)self->len, 12 * PAGE));
	EXPECT_EQ(4, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_munmap(&alice, at, self->len));
	EXPECT_EQ(4, left(&alice, SCRATCH, MAX));
	/* The first limit is free again, but the next lock does not fit. */
	EXPECT_EQ(-ENOMEM, peer_call(&alice, pf_donate_locked,
				     (long)"kst-memlock.3", (long)at,
				     (long)self->len, 12 * PAGE));
	EXPECT_EQ(0, peer_munmap(&alice, at, 12 * PAGE));
	EXPECT_EQ(0, sys_mshare_unlink(self->name2));
	EXPECT_TRUE(WAIT_FOR(left(&alice, SCRATCH, MAX) == 16, 10000));
	close_root();
}

/* A failed creation gives back what it had charged. */
TEST_F(mshare, all_regions_count_together)
{
	struct peer alice, bob;
	char *at = self->addr + 2 * self->granule;
	mode_t mask = umask(0);

	MAKE_USERS(16 * PAGE);
	ASSERT_EQ(0, sys_mshare(self->name2, at, self->len,
				O_CREAT | O_EXCL | O_RDWR, 0666));
	umask(mask);
	ASSERT_EQ(0, map_anon(at, MEG, RW));
	ASSERT_EQ(0, peer_call(&alice, pf_mshare, (long)self->name2, (long)at,
			       (long)self->len, O_RDWR));
	EXPECT_EQ(0, peer_call(&alice, pf_mlock, (long)self->addr, 8 * PAGE));
	EXPECT_EQ(-ENOMEM, peer_call(&alice, pf_mlock, (long)at, 9 * PAGE));
	EXPECT_EQ(0, peer_call(&alice, pf_mlock, (long)at, 8 * PAGE));
	EXPECT_EQ(0, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(0, do_munmap(at, self->len));
	EXPECT_EQ(0, peer_munmap(&alice, at, self->len));
	EXPECT_EQ(0, sys_mshare_unlink(self->name2));
	EXPECT_TRUE(WAIT_FOR(left(&alice, SCRATCH, MAX) == 8, 10000));
}

/* Whichever user unlocks, the sum is right, and no user is overcharged. */
TEST_F(mshare, second_user_unlocks)
{
	struct peer alice, bob;

	MAKE_USERS(16 * PAGE);
	EXPECT_EQ(0, peer_call(&alice, pf_mlock, (long)self->addr, 10 * PAGE));
	EXPECT_EQ(0, peer_call(&bob, pf_mlock, (long)self->addr + 10 * PAGE,
			       4 * PAGE));
	/* Memory that Bob locked himself comes first. */
	EXPECT_EQ(0, peer_call(&bob, pf_munlock, (long)self->addr, 3 * PAGE));
	EXPECT_EQ(15, left(&bob, SCRATCH, MAX));
	EXPECT_EQ(6, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(0, peer_call(&bob, pf_munlock, (long)self->addr, 6 * PAGE));
	EXPECT_EQ(16, left(&bob, SCRATCH, MAX));
	EXPECT_EQ(8, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, neg(munlock(self->addr, MEG)));
	EXPECT_EQ(16, left(&alice, SCRATCH, MAX));
	EXPECT_EQ(0, debug_check());
}

/* CAP_IPC_LOCK lifts the limit, but its locks are counted all the same. */
TEST_F(mshare, cap_ipc_lock)
{
	struct rlimit was, rl = { .rlim_cur = PAGE };

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, getrlimit(RLIMIT_MEMLOCK, &was));
	rl.rlim_max = was.rlim_max;
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &rl));
	EXPECT_EQ(0, neg(mlock(self->addr, MEG)));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, neg(munlock(self->addr, MEG)));
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &was));
}

/* mlockall() skips windows, and does not count them. */
TEST_F(mshare, mlockall_passes_over_windows)
{
	struct peer alice, bob;
	long kb;

	MAKE_USERS(16 * PAGE);
	kb = vmstat_count("nr_mlock");
	EXPECT_EQ(0, neg(mlockall(MCL_CURRENT)));
	EXPECT_EQ(0, neg(munlockall()));
	EXPECT_LE(kb - 64, vmstat_count("nr_mlock"));
	EXPECT_GE(kb + 64, vmstat_count("nr_mlock"));
	/* This would not go if it were locked. */
	EXPECT_EQ(0, neg(mlockall(MCL_CURRENT)));
	EXPECT_EQ(0, do_madvise(self->addr, PAGE, MADV_DONTNEED));
	EXPECT_EQ(0, neg(munlockall()));
	EXPECT_EQ(0, debug_check());
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
