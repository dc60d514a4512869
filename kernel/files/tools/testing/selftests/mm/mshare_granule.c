// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: regions that share a page-table page of their sharers with other
 * regions and with private memory, and regions that do not.
 *
 * A unit is what a P4D entry spans, 512 GiB.  Where a region fills one, the
 * sharers' P4D entries point at the region's tables.  Elsewhere a sharer has a
 * PUD table of its own, which holds private memory and windows side by side.
 */
#include <pthread.h>

#include "mshare_failnth.h"
#include "mshare_gup.h"

/* Far from everything else in a process; the next unit is free too. */
#define BASE	((char *)(40 * UNIT))

PEER_FN(pf_tables)
{
	PEER_UNUSED();
	return self_status("VmPTE");
}

/* A granule of memory that is not charged before it is touched. */
static long reserve(char *at)
{
	return map_fd(at, GIB, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		      -1, 0);
}

/* What attaching a region at that place costs a sharer, in kB. */
static long attach_cost(const char *name, char *at, size_t len)
{
	struct peer p;
	long cost = -1, before;

	if (sys_mshare(name, at, len, O_CREAT | O_EXCL | O_RDWR, 0600))
		return -1;
	if (peer_start(&p))
		return -1;
	/*
	 * The child has inherited the window.  For the name it may lack a
	 * table: fork() copies none of shared memory.
	 */
	if (!peer_munmap(&p, at, len) && !peer_load(&p, name)) {
		before = peer_call(&p, pf_tables);
		if (!peer_call(&p, pf_mshare, (long)name, (long)at, (long)len,
			       O_RDWR)) {
			cost = peer_call(&p, pf_tables) - before;
			if (peer_munmap(&p, at, len) ||
			    peer_call(&p, pf_tables) != before)
				cost = -1;
		}
	}
	peer_stop(&p);
	sys_mshare_unlink(name);
	return cost;
}

/*
 * At most one page for each unit that a window touches, none where it fills
 * one.
 */
TEST_F(mshare, what_a_window_costs)
{
	EXPECT_EQ(4, attach_cost(self->name, BASE + 5 * GIB, GIB));
	EXPECT_EQ(4, attach_cost(self->name, BASE + GIB, UNIT - GIB));
	EXPECT_EQ(4, attach_cost(self->name, BASE + 100 * GIB, 300 * GIB));
	EXPECT_EQ(0, attach_cost(self->name, BASE, UNIT));
	EXPECT_EQ(0, attach_cost(self->name, BASE, 2 * UNIT));
	EXPECT_EQ(4, attach_cost(self->name, BASE, UNIT + GIB));
	EXPECT_EQ(4, attach_cost(self->name, BASE - GIB, UNIT + GIB));
	EXPECT_EQ(8, attach_cost(self->name, BASE - GIB, UNIT + 2 * GIB));
	EXPECT_EQ(8, attach_cost(self->name, BASE - GIB, 2 * GIB));
}

/*
 * Each allocation of an attach fails once, also those of tables above the
 * window, of which it needs two: none is left.
 */
TEST_F(mshare, attach_fail_nth_leaves_no_table)
{
	char *at = BASE - GIB;
	int fd = failnth_open(), n, failed = 0;
	long before, ret = -1;
	bool hit = true;

	if (fd < 0)
		SKIP(return, "no fault injection");
	self->len = UNIT + 2 * GIB;
	before = self_status("VmPTE");
	ASSERT_EQ(0, sys_mshare(self->name, at, self->len,
				O_CREAT | O_EXCL | O_RDWR, 0600));
	ASSERT_EQ(0, map_anon(at, PAGE, RW));
	ASSERT_EQ(0, probe_store(at, 5));
	ASSERT_EQ(before + 8, self_status("VmPTE"));
	ASSERT_EQ(0, do_munmap(at, self->len));
	for (n = 1; hit && n < FAILNTH_MAX; n++) {
		ASSERT_EQ(before, self_status("VmPTE"));
		failnth_arm(fd, n);
		ret = sys_mshare(self->name, at, self->len, O_RDWR, 0);
		hit = failnth_hit(fd);
		if (!ret) {
			EXPECT_EQ(5, load(at));
			EXPECT_EQ(before + 8, self_status("VmPTE"));
			ASSERT_EQ(0, do_munmap(at, self->len));
			continue;
		}
		ASSERT_EQ(-ENOMEM, ret)
			TH_LOG("allocation %d", n);
		ASSERT_TRUE(hit);
		ASSERT_EQ(NULL, self_maps_line(at));
		ASSERT_EQ(0, region_figure(self->name, "mshare-sharers"));
		failed++;
	}
	close(fd);
	EXPECT_EQ(0, ret);
	EXPECT_LT(n, FAILNTH_MAX);
	/* At least the attachment, the mapping, and the two tables. */
	EXPECT_LE(4, failed);
	EXPECT_EQ(before, self_status("VmPTE"));
	EXPECT_EQ(0, debug_check());
	TH_LOG("%d allocations failed, %d of them were needed", n - 1,
	       failed);
}

static void nth_name(char *name, int i)
{
	snprintf(name, 64, MSHARE_PREFIX "nth.%d", i);
}

TEST_F(mshare, many_windows_in_one_unit)
{
	long before = self_status("VmPTE");
	char name[64], *at;
	struct peer p;
	int i;

	for (i = 0; i < 40; i++) {
		at = BASE + 3 * i * GIB;
		nth_name(name, i);
		ASSERT_EQ(0, sys_mshare(name, at, GIB, O_CREAT | O_RDWR, 0600));
		ASSERT_EQ(0, map_anon(at, PAGE, RW));
		ASSERT_EQ(0, probe_store(at, i));
	}
	EXPECT_EQ(before + 4, self_status("VmPTE"));
	ASSERT_EQ(0, peer_start(&p));
	EXPECT_EQ(0, debug_check());
	/* Each is a region of its own, and goes independently. */
	for (i = 0; i < 40; i += 2)
		ASSERT_EQ(0, do_munmap(BASE + 3 * i * GIB, GIB));
	for (i = 0; i < 40; i++) {
		at = BASE + 3 * i * GIB;
		EXPECT_EQ(i, peer_see(&p, at));
		EXPECT_EQ(i & 1 ? 0 : SIGSEGV, probe_byte(at));
		EXPECT_EQ(i, i & 1 ? load(at) : i);
	}
	EXPECT_EQ(before + 4, self_status("VmPTE"));
	/* All the others in one call. */
	ASSERT_EQ(0, do_munmap(BASE, UNIT));
	EXPECT_EQ(before, self_status("VmPTE"));
	EXPECT_EQ(7, peer_see(&p, BASE + 3 * 7 * GIB));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* Map and unmap memory below and above, the last of its unit or not. */
TEST_F(mshare, private_on_both_sides_of_window)
{
	char *at = BASE + 7 * GIB, *below = at - MEG, *above = at + GIB;
	int i, rounds = scaled(200, 50);
	struct peer p;

	ASSERT_EQ(0, peer_start(&p));
	self->addr = at;
	self->len = GIB;
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);
	ASSERT_EQ(0, map_anon(at, rounds * PAGE, RW));
	for (i = 0; i < rounds; i++) {
		ASSERT_EQ(0, peer_store(&p, at + i * PAGE, i + 1));
		ASSERT_EQ(0, map_anon(below, MEG, RW));
		ASSERT_EQ(0, map_anon(above, MEG, RW));
		WRITE_ONCE(*(long *)(below + MEG - PAGE), i);
		WRITE_ONCE(*(long *)above, ~i);
		/* Each side first in turn. */
		ASSERT_EQ(0, do_munmap(i & 1 ? below : above, MEG));
		ASSERT_EQ(i + 1, load(at + i * PAGE));
		ASSERT_EQ(i & 1 ? ~i : i,
			  load(i & 1 ? above : below + MEG - PAGE));
		ASSERT_EQ(0, do_munmap(i & 1 ? above : below, MEG));
		ASSERT_EQ(i + 1, load(at + i * PAGE));
	}
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* A mapping as large as the window, with all its tables, on each side. */
TEST_F(mshare, munmap_over_window_and_neighbours)
{
	char *at = BASE + 7 * GIB;
	struct peer p;
	long before;

	ASSERT_EQ(0, peer_start(&p));
	before = self_status("VmPTE");
	self->addr = at;
	self->len = GIB;
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);
	ASSERT_EQ(0, reserve(at));
	ASSERT_EQ(0, reserve(at - GIB));
	ASSERT_EQ(0, reserve(at + GIB));
	ASSERT_EQ(0, probe_store(at - PAGE, 1));
	ASSERT_EQ(0, probe_store(at, 2));
	ASSERT_EQ(0, probe_store(at + GIB - PAGE, 3));
	ASSERT_EQ(0, probe_store(at + GIB, 4));
	ASSERT_EQ(0, do_munmap(at - GIB, 3 * GIB));
	EXPECT_EQ(SIGSEGV, probe_byte(at));
	EXPECT_EQ(before, self_status("VmPTE"));
	EXPECT_EQ(2, peer_see(&p, at));
	EXPECT_EQ(3, peer_see(&p, at + GIB - PAGE));
	EXPECT_EQ(0, debug_check());
	/* And back again. */
	ASSERT_EQ(0, sys_mshare(self->name, at, GIB, O_RDWR, 0));
	EXPECT_EQ(2, load(at));
	EXPECT_EQ(0, peer_stop(&p));
}

/* exit() frees private tables next to tables that others use. */
TEST_F(mshare, exit_with_neighbours)
{
	char *at = BASE + 7 * GIB;
	int i, status;
	pid_t pid;

	self->addr = at;
	self->len = GIB;
	ASSERT_EQ(0, reserve(at - GIB));
	ASSERT_EQ(0, probe_store(at - PAGE, 1));
	MAKE_REGION();
	ASSERT_EQ(0, reserve(at));
	ASSERT_EQ(0, probe_store(at, 2));
	for (i = 0; i < 20; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			/*
			 * Private below, shared here, and another private
			 * mapping above.
			 */
			if (reserve(at + GIB) ||
			    probe_store(at + GIB, 5) ||
			    probe_store(at - PAGE, 6) || load(at) != 2 + i ||
			    probe_store(at, 3 + i))
				_exit(1);
			if (i & 1)
				kill(getpid(), SIGKILL);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(i & 1 ? SIGKILL : 0, status);
		EXPECT_EQ(3 + i, load(at));
		EXPECT_EQ(1, load(at - PAGE));
		EXPECT_EQ(SIGSEGV, probe_byte(at + GIB));
	}
	EXPECT_EQ(0, debug_check());
}

/* Entries of two levels in one window, and operations across their border. */
TEST_F(mshare, region_of_both_levels)
{
	char *at = BASE - GIB, *border[2] = { BASE, BASE + UNIT };
	struct peer p;
	int i;

	ASSERT_EQ(0, peer_start(&p));
	self->addr = at;
	self->len = UNIT + 2 * GIB;
	ASSERT_EQ(0, map_anon(at - PAGE, PAGE, RW));
	ASSERT_EQ(0, map_anon(at + self->len, PAGE, RW));
	ASSERT_EQ(0, probe_store(at - PAGE, 1));
	ASSERT_EQ(0, probe_store(at + self->len, 2));
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, map_anon(border[i] - MEG, 2 * MEG, RW));
		ASSERT_EQ(0, probe_store(border[i] - PAGE, 10 + i));
		ASSERT_EQ(0, peer_store(&p, border[i], 20 + i));
	}
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(20 + i, load(border[i]));
		EXPECT_EQ(10 + i, peer_see(&p, border[i] - PAGE));
	}
	EXPECT_EQ(0, debug_check());
	/* Everything that is mapped goes, and the tables that may be freed. */
	ASSERT_EQ(0, do_munmap(at + PAGE, self->len - 2 * PAGE));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(SIGBUS, peer_load(&p, border[0]));
	ASSERT_EQ(0, peer_call(&p, pf_map_anon, (long)border[1], MEG, RW));
	ASSERT_EQ(0, peer_store(&p, border[1], 30));
	EXPECT_EQ(30, load(border[1]));
	EXPECT_EQ(1, load(at - PAGE));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(1, load(at - PAGE));
	EXPECT_EQ(2, load(at + self->len));
	EXPECT_EQ(30, peer_see(&p, border[1]));
	EXPECT_EQ(0, peer_stop(&p));
}

/* The last mapping of a granule goes and comes back: all sharers see both. */
TEST_F(mshare, pinned_pmd_table)
{
	char *at = BASE + 7 * GIB;
	long tables = 0, now;
	struct peer p;
	int i;

	ASSERT_EQ(0, peer_start(&p));
	self->addr = at;
	self->len = 3 * GIB;
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, map_anon(at + GIB, MEG, RW));
		ASSERT_EQ(0, probe_store(at + GIB, i));
		ASSERT_EQ(i, peer_see(&p, at + GIB));
		ASSERT_EQ(0, do_munmap(at + GIB, MEG));
		ASSERT_EQ(SIGBUS, peer_load(&p, at + GIB));
		now = region_figure(self->name, "mshare-pgtables-kb");
		ASSERT_EQ(i ? tables : now, now);
		tables = now;
	}
	/* One PUD table, and a PMD table for each granule. */
	EXPECT_EQ(4 + 3 * 4, tables);
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/*
 * A creator that has tables in some granules, and private memory beside them.
 */
TEST_F(mshare, donate_sparse)
{
	char *at = BASE + 7 * GIB;
	long before, tables;
	struct peer p;
	int i;

	ASSERT_EQ(0, peer_start(&p));
	before = self_status("VmPTE");
	ASSERT_EQ(0, map_anon(at - PAGE, PAGE, RW));
	ASSERT_EQ(0, map_anon(at + 5 * GIB, PAGE, RW));
	ASSERT_EQ(0, probe_store(at - PAGE, 11));
	ASSERT_EQ(0, probe_store(at + 5 * GIB, 12));
	tables = self_status("VmPTE");
	/* The PUD table, and twice a PMD and a PTE table. */
	EXPECT_EQ(before + 5 * 4, tables);
	for (i = 1; i < 5; i += 2) {
		ASSERT_EQ(0, map_anon(at + i * GIB, MEG, RW));
		ASSERT_EQ(0, probe_store(at + i * GIB, i));
	}
	/* A mapping without tables. */
	ASSERT_EQ(0, map_anon(at + 2 * GIB, MEG, RW));
	EXPECT_EQ(tables + 4 * 4, self_status("VmPTE"));
	self->addr = at;
	self->len = 5 * GIB;
	MAKE_REGION();
	EXPECT_EQ(tables, self_status("VmPTE"));
	EXPECT_EQ(4 + 5 * 4 + 2 * 4,
		  region_figure(self->name, "mshare-pgtables-kb"));
	EXPECT_EQ(0, debug_check());
	ATTACH_PEER(&p, O_RDWR);
	ASSERT_EQ(0, peer_store(&p, at + 2 * GIB, 2));
	for (i = 1; i <= 3; i++) {
		EXPECT_EQ(i, load(at + i * GIB));
		EXPECT_EQ(i, peer_see(&p, at + i * GIB));
	}
	EXPECT_EQ(SIGBUS, peer_load(&p, at));
	EXPECT_EQ(SIGBUS, probe_byte(at + 4 * GIB));
	EXPECT_EQ(11, load(at - PAGE));
	EXPECT_EQ(12, load(at + 5 * GIB));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(tables, self_status("VmPTE"));
	EXPECT_EQ(11, load(at - PAGE));
	EXPECT_EQ(12, load(at + 5 * GIB));
	EXPECT_EQ(3, peer_see(&p, at + 3 * GIB));
	EXPECT_EQ(0, peer_stop(&p));
}

/*
 * A donor's tables at both levels: whole units move as one, the rest by
 * granules.
 */
TEST_F(mshare, donate_both_levels)
{
	char *at = BASE - GIB;
	static const unsigned long off[] = {
		0, GIB - PAGE, GIB, UNIT, UNIT + GIB - PAGE, UNIT + GIB,
		UNIT + 2 * GIB - PAGE,
	};
	unsigned int i;
	struct peer p;
	long before;

	ASSERT_EQ(0, peer_start(&p));
	before = self_status("VmPTE");
	for (i = 0; i < ARRAY_SIZE(off); i++) {
		ASSERT_EQ(0, map_anon(at + off[i], PAGE, RW));
		ASSERT_EQ(0, probe_store(at + off[i], i));
	}
	self->addr = at;
	self->len = UNIT + 2 * GIB;
	MAKE_REGION();
	/* A PUD table of its own at each end. */
	EXPECT_EQ(before + 8, self_status("VmPTE"));
	ATTACH_PEER(&p, O_RDONLY);
	for (i = 0; i < ARRAY_SIZE(off); i++) {
		EXPECT_EQ(i, load(at + off[i]));
		EXPECT_EQ(i, peer_see(&p, at + off[i]));
		EXPECT_EQ(SIGSEGV, peer_store(&p, at + off[i], 1));
	}
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, do_munmap(at, self->len));
	EXPECT_EQ(before, self_status("VmPTE"));
	EXPECT_EQ(0, peer_stop(&p));
}

/* Fast GUP checks the entry that links the tables, at either level. */
TEST_F(mshare, ro_gup_fast_at_both_levels)
{
	static const unsigned long off[] = { 0, GIB, UNIT + GIB };
	static const int fast[] = { GUP_FAST_BENCHMARK, PIN_FAST_BENCHMARK };
	char *at = BASE - GIB;
	unsigned int i, k;
	struct peer p;

	if (access(GUP_TEST_FILE, R_OK | W_OK))
		SKIP(return, "no " GUP_TEST_FILE);
	ASSERT_EQ(0, peer_start(&p));
	self->addr = at;
	self->len = UNIT + 2 * GIB;
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDONLY);
	for (i = 0; i < ARRAY_SIZE(off); i++) {
		ASSERT_EQ(0, map_anon(at + off[i], MEG, RW));
		ASSERT_EQ(0, do_madvise(at + off[i], MEG, MADV_POPULATE_WRITE));
		for (k = 0; k < ARRAY_SIZE(fast); k++) {
			EXPECT_EQ(0, peer_call(&p, pf_gup_test, fast[k],
					       (long)at + off[i], 4,
					       FOLL_WRITE));
			EXPECT_EQ(4, peer_call(&p, pf_gup_test, fast[k],
					       (long)at + off[i], 4, 0));
			EXPECT_EQ(4, gup_test(fast[k], (long)at + off[i], 4,
					      FOLL_WRITE));
		}
	}
	EXPECT_EQ(0, peer_stop(&p));
}

/* Private memory moves by whole PUD entries past a window in the same table. */
TEST_F(mshare, private_moves_past_window)
{
	char *at = BASE + 7 * GIB, *from = at - GIB, *to = at + GIB;
	struct peer p;
	int i;

	ASSERT_EQ(0, peer_start(&p));
	self->addr = at;
	self->len = GIB;
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);
	ASSERT_EQ(0, map_anon(at, MEG, RW));
	ASSERT_EQ(0, probe_store(at, 1));
	ASSERT_EQ(from, mmap(from, GIB, RW, MAP_PRIVATE | MAP_ANONYMOUS |
			     MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0));
	ASSERT_EQ(0, probe_store(from, 2));
	ASSERT_EQ(0, probe_store(to - GIB - PAGE, 3));
	for (i = 0; i < 10; i++) {
		ASSERT_EQ((long)to, do_mremap(from, GIB, GIB, MREMAP_MAYMOVE |
					      MREMAP_FIXED, to));
		EXPECT_EQ(2, load(to));
		EXPECT_EQ(3, load(to + GIB - PAGE));
		EXPECT_EQ(SIGSEGV, probe_byte(from));
		EXPECT_EQ(1 + i, load(at));
		ASSERT_EQ(0, peer_store(&p, at, 2 + i));
		ASSERT_EQ((long)from, do_mremap(to, GIB, GIB, MREMAP_MAYMOVE |
						MREMAP_FIXED, from));
	}
	/* It cannot move into the window or out of it. */
	EXPECT_EQ(-EINVAL, do_mremap(from, GIB, GIB, MREMAP_MAYMOVE |
				     MREMAP_FIXED, at));
	EXPECT_EQ(-EINVAL, do_mremap(at, MEG, MEG, MREMAP_MAYMOVE |
				     MREMAP_FIXED, to));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* Attaching fills entries of a table while other threads fill theirs. */
struct beside {
	char *at;
	int stop;
	long rounds;
};

static void *fault_beside(void *arg)
{
	struct beside *b = arg;

	while (!READ_ONCE(b->stop)) {
		/* All tables below the PUD table are new each time. */
		if (map_anon(b->at, PAGE, RW) || probe_store(b->at, 1) ||
		    load(b->at) != 1 || do_munmap(b->at, PAGE))
			return (void *)1;
		b->rounds++;
	}
	return NULL;
}

TEST_F(mshare, attach_beside_faulting_thread)
{
	char *at = BASE + 7 * GIB;
	struct beside b = { .at = at - GIB };
	int i, rounds = scaled(100, 40);
	pthread_t thread;
	struct peer p;
	void *failed;

	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, peer_call(&p, pf_mshare, (long)self->name, (long)at, GIB,
			       O_CREAT | O_EXCL | O_RDWR, 0600));
	ASSERT_EQ(0, peer_call(&p, pf_map_anon, (long)at, MEG, RW));
	ASSERT_EQ(0, peer_store(&p, at, 5));
	ASSERT_EQ(0, pthread_create(&thread, NULL, fault_beside, &b));
	for (i = 0; i < rounds; i++) {
		ASSERT_EQ(0, sys_mshare(self->name, at, GIB, O_RDWR, 0));
		ASSERT_EQ(5, load(at));
		ASSERT_EQ(0, do_munmap(at, GIB));
	}
	EXPECT_TRUE(WAIT_FOR(READ_ONCE(b.rounds) > 10, 30000));
	WRITE_ONCE(b.stop, 1);
	ASSERT_EQ(0, pthread_join(thread, &failed));
	EXPECT_EQ(NULL, failed);
	EXPECT_EQ(0, peer_stop(&p));
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
