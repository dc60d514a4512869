// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: ordinary memory that lies directly beside a window: huge pages of
 * hugetlb and transparent ones, on both sides of a border that the two sides
 * treat differently. And all of this above 2^47, where there are five levels of
 * page tables.
 */
#include "mshare_failnth.h"
#include "mshare_gup.h"

#define HUGE	(2 * MEG)
#define BESIDE	(2 * HUGE)	/* a neighbour */
#define POOL	"/proc/sys/vm/nr_hugepages"

/* Far from everything else in a process, as in mshare_granule.c. */
#define BASE	((char *)(40 * UNIT))
/* The first address that only a hint or MAP_FIXED can reach. */
#define HIGH	(256 * UNIT)
/* What an entry of the top table spans, with five levels. */
#define TOP	(512 * UNIT)

struct kind {
	const char *name;
	int flags;
};

static const struct kind kinds[] = {
	{ "transparent huge pages", MAP_PRIVATE },
	{ "private hugetlb", MAP_PRIVATE | MAP_HUGETLB },
	{ "shared hugetlb", MAP_SHARED | MAP_HUGETLB },
};

#define TRANSPARENT	(&kinds[0])

/* Where something may be wrong: the ends, and where a huge page begins. */
static const unsigned long spots[] = {
	0, HUGE - PAGE, HUGE, BESIDE - PAGE,
};

static int mark(char *at, long val)
{
	unsigned int i;
	int sig = 0;

	for (i = 0; i < ARRAY_SIZE(spots) && !sig; i++)
		sig = probe_store(at + spots[i], val + i);
	return sig;
}

static bool marked(const char *at, long val)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(spots); i++)
		if (load(at + spots[i]) != val + i)
			return false;
	return true;
}

static bool peer_sees_marked(struct peer *p, const char *at, long val)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(spots); i++)
		if (peer_see(p, at + spots[i]) != val + i)
			return false;
	return true;
}

static bool nothing_at(const char *at)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(spots); i++)
		if (probe_byte(at + spots[i]) != SIGSEGV)
			return false;
	return true;
}

static long map_beside(const struct kind *kind, char *at)
{
	long ret = map_fd(at, BESIDE, RW, kind->flags | MAP_ANONYMOUS, -1, 0);

	if (!ret && !(kind->flags & MAP_HUGETLB))
		ret = do_madvise(at, BESIDE, MADV_HUGEPAGE);
	return ret;
}

/* Pages for hugetlb. The old size of the pool, or -1 if there is no room. */
static long pool_begin(long pages)
{
	char old[32];

	if (slurp(POOL, old, sizeof(old)) <= 0)
		return -1;
	spew_num(POOL, pages);
	if (meminfo_kb("HugePages_Free") >= pages)
		return atol(old);
	spew_num(POOL, atol(old));
	return -1;
}

/* A window and its neighbours, all of them filled. */
struct scene {
	const struct kind *kind;
	char *at;
	size_t len;
	char *below;
	char *above;
	char *low;		/* in the window, at its ends */
	char *high;
};

static void scene_set(struct scene *s, char *at, size_t len,
		      const struct kind *kind)
{
	s->kind = kind;
	s->at = at;
	s->len = len;
	s->below = at - BESIDE;
	s->above = at + len;
	s->low = at;
	s->high = at + len - BESIDE;
}

static bool neighbours_up(struct scene *s, long val)
{
	return !map_beside(s->kind, s->below) && !map_beside(s->kind, s->above) &&
	       !mark(s->below, val) && !mark(s->above, val + 100);
}

static bool neighbours_hold(struct scene *s, long val)
{
	return marked(s->below, val) && marked(s->above, val + 100);
}

static bool window_up(struct scene *s, long val)
{
	return !map_beside(TRANSPARENT, s->low) &&
	       !map_beside(TRANSPARENT, s->high) &&
	       !mark(s->low, val) && !mark(s->high, val + 100);
}

static bool window_holds(struct scene *s, long val)
{
	return marked(s->low, val) && marked(s->high, val + 100);
}

static bool peer_window_holds(struct peer *p, struct scene *s, long val)
{
	return peer_sees_marked(p, s->low, val) &&
	       peer_sees_marked(p, s->high, val + 100);
}

/* One pin, copy or write that has a page on each side of the border. */
static void pin_across(struct __test_metadata *_metadata, char *border)
{
	static const long ways[] = {
		GUP_FAST_BENCHMARK, PIN_FAST_BENCHMARK, PIN_LONGTERM_BENCHMARK,
	};
	static char buf[2 * PAGE];
	struct iovec here = { buf, sizeof(buf) };
	struct iovec there = { border - PAGE, sizeof(buf) };
	unsigned int i;

	EXPECT_EQ((ssize_t)sizeof(buf),
		  process_vm_readv(getpid(), &here, 1, &there, 1, 0));
	EXPECT_EQ(0, memcmp(buf, border - PAGE, sizeof(buf)));
	buf[PAGE - 1] = 'b';
	buf[PAGE + 64] = 'a';
	EXPECT_EQ((ssize_t)sizeof(buf),
		  process_vm_writev(getpid(), &here, 1, &there, 1, 0));
	EXPECT_EQ('b', border[-1]);
	EXPECT_EQ('a', border[64]);

	if (access(GUP_TEST_FILE, R_OK | W_OK))
		return;
	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		EXPECT_EQ(4, gup_test(ways[i], (long)border - 2 * PAGE, 4,
				      FOLL_WRITE))
			TH_LOG("way %u", i);
		EXPECT_EQ(4, gup_test(ways[i], (long)border - 2 * PAGE, 4, 0))
			TH_LOG("way %u", i);
	}
}

/* The child has the window, and copies or shares the neighbours. */
static void fork_beside(struct __test_metadata *_metadata, struct scene *s,
			long val, long seen)
{
	bool shared = s->kind->flags & MAP_SHARED;
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (!neighbours_hold(s, val))
			_exit(1);
		if (!window_holds(s, seen))
			_exit(2);
		if (mark(s->below, val + 1000) || mark(s->above, val + 1100))
			_exit(3);
		if (mark(s->low, seen + 1000) || mark(s->high, seen + 1100))
			_exit(4);
		/* Its tables beside the window are its own. */
		if (do_munmap(s->below, BESIDE) || !nothing_at(s->below))
			_exit(5);
		if (!marked(s->above, val + 1100) ||
		    !window_holds(s, seen + 1000))
			_exit(6);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(neighbours_hold(s, shared ? val + 1000 : val));
	EXPECT_TRUE(window_holds(s, seen + 1000));
	ASSERT_EQ(0, mark(s->below, val));
	ASSERT_EQ(0, mark(s->above, val + 100));
	ASSERT_EQ(0, mark(s->low, seen));
	ASSERT_EQ(0, mark(s->high, seen + 100));
}

/* Calls over the border change nothing on either side. */
static void cross_border(struct __test_metadata *_metadata, struct scene *s)
{
	char *far = s->above + 3 * GIB;
	size_t both = BESIDE + HUGE;

	EXPECT_EQ(-EINVAL, do_munmap(s->below + HUGE, 2 * HUGE));
	EXPECT_EQ(-EINVAL, do_munmap(s->high + HUGE, both));
	EXPECT_EQ(-EINVAL, do_mprotect(s->below, both, PROT_READ));
	EXPECT_EQ(-EINVAL, do_mprotect(s->high + HUGE, both, PROT_NONE));
	EXPECT_EQ(-EINVAL, do_madvise(s->below, both, MADV_DONTNEED));
	EXPECT_EQ(-EINVAL, do_madvise(s->high + HUGE, both, MADV_PAGEOUT));
	EXPECT_EQ(-EINVAL, map_anon(s->below + HUGE, 2 * HUGE, RW));
	EXPECT_EQ(-EINVAL, do_mremap(s->below, BESIDE, BESIDE, MREMAP_MAYMOVE |
				     MREMAP_FIXED, s->low));
	EXPECT_EQ(-EINVAL, do_mremap(s->low, BESIDE, BESIDE, MREMAP_MAYMOVE |
				     MREMAP_FIXED, far));
	/* A neighbour cannot grow into the window. */
	EXPECT_GT(0, do_mremap(s->below, BESIDE, both, 0, NULL));
}

static void move_beside(struct __test_metadata *_metadata, struct scene *s,
			char *at, long val)
{
	char *far = s->above + 3 * GIB;

	ASSERT_EQ((long)far, do_mremap(at, BESIDE, BESIDE, MREMAP_MAYMOVE |
				       MREMAP_FIXED, far));
	EXPECT_TRUE(nothing_at(at));
	EXPECT_TRUE(marked(far, val));
	ASSERT_EQ((long)at, do_mremap(far, BESIDE, BESIDE, MREMAP_MAYMOVE |
				      MREMAP_FIXED, at));
	EXPECT_TRUE(marked(at, val));
}

/* All that a process does beside a window, and both sides each time. */
static void use_beside(struct __test_metadata *_metadata, struct scene *s,
		       const char *name, struct peer *p)
{
	long before, pool = meminfo_kb("HugePages_Free");

	TH_LOG("%s beside %lu GiB at %p", s->kind->name, s->len / GIB, s->at);
	before = self_status("VmPTE");
	ASSERT_EQ(0, sys_mshare(name, s->at, s->len, O_CREAT | O_EXCL | O_RDWR,
				0600));
	ASSERT_EQ(0, peer_call(p, pf_mshare, (long)name, (long)s->at,
			       (long)s->len, O_RDWR));
	ASSERT_TRUE(window_up(s, 5000));
	ASSERT_TRUE(neighbours_up(s, 7000));
	EXPECT_TRUE(window_holds(s, 5000));
	EXPECT_TRUE(peer_window_holds(p, s, 5000));
	EXPECT_EQ(SIGSEGV, peer_load(p, s->below));
	EXPECT_EQ(SIGSEGV, peer_load(p, s->above));
	EXPECT_LE((long)BESIDE / 1024, smaps_kb(getpid(), s->at,
						"AnonHugePages"));
	if (s->kind == TRANSPARENT)
		EXPECT_EQ((long)BESIDE / 1024,
			  smaps_kb(getpid(), s->below, "AnonHugePages"));
	EXPECT_EQ(0, debug_check());

	pin_across(_metadata, s->at);
	pin_across(_metadata, s->above);
	ASSERT_EQ(0, mark(s->low, 5000));
	ASSERT_EQ(0, mark(s->above, 7100));
	fork_beside(_metadata, s, 7000, 5000);
	cross_border(_metadata, s);
	EXPECT_TRUE(neighbours_hold(s, 7000));
	EXPECT_TRUE(peer_window_holds(p, s, 5000));
	EXPECT_EQ(0, debug_check());

	move_beside(_metadata, s, s->below, 7000);
	move_beside(_metadata, s, s->above, 7100);
	EXPECT_TRUE(window_holds(s, 5000));

	/* One side, and then the other, goes and comes back. */
	ASSERT_EQ(0, do_munmap(s->below, BESIDE));
	EXPECT_TRUE(nothing_at(s->below));
	EXPECT_TRUE(marked(s->above, 7100));
	EXPECT_TRUE(window_holds(s, 5000));
	ASSERT_EQ(0, do_munmap(s->above, BESIDE));
	EXPECT_TRUE(nothing_at(s->above));
	EXPECT_TRUE(peer_window_holds(p, s, 5000));
	ASSERT_TRUE(neighbours_up(s, 9000));
	EXPECT_TRUE(window_holds(s, 5000));

	/* The window goes from between them. */
	ASSERT_EQ(0, do_munmap(s->at, s->len));
	EXPECT_TRUE(neighbours_hold(s, 9000));
	EXPECT_TRUE(nothing_at(s->low) && nothing_at(s->high));
	EXPECT_TRUE(peer_window_holds(p, s, 5000));
	ASSERT_EQ(0, sys_mshare(name, s->at, s->len, O_RDWR, 0));
	EXPECT_TRUE(neighbours_hold(s, 9000));
	EXPECT_TRUE(window_holds(s, 5000));
	EXPECT_EQ(0, debug_check());

	/* All in one call. */
	ASSERT_EQ(0, do_munmap(s->below, s->len + 2 * BESIDE));
	EXPECT_TRUE(nothing_at(s->below) && nothing_at(s->above));
	EXPECT_TRUE(nothing_at(s->low) && nothing_at(s->high));
	EXPECT_TRUE(peer_window_holds(p, s, 5000));
	EXPECT_EQ(before, self_status("VmPTE"));
	EXPECT_TRUE(WAIT_FOR(meminfo_kb("HugePages_Free") == pool, 5000));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_munmap(p, s->at, s->len));
	EXPECT_EQ(0, sys_mshare_unlink(name));
}

static bool have_high_addresses(void)
{
	void *hint = (void *)(5 * TOP);
	void *p = mmap(hint, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	if (p == MAP_FAILED)
		return false;
	munmap(p, PAGE);
	return p == hint;
}

#define USE_BESIDE(at, len, kind)					\
do {									\
	struct scene __s;						\
									\
	scene_set(&__s, at, len, kind);					\
	use_beside(_metadata, &__s, self->name, &p);			\
} while (0)

/* The neighbour and the window are entries of the same PUD table. */
TEST_F(mshare, transparent_huge_pages_in_the_same_unit)
{
	struct peer p;

	if (!have_thp())
		SKIP(return, "no transparent huge pages");
	ASSERT_EQ(0, peer_start(&p));
	USE_BESIDE(BASE + 7 * GIB, GIB, TRANSPARENT);
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, hugetlb_in_the_same_unit)
{
	long pool = pool_begin(24);
	struct peer p;
	int i;

	if (pool < 0)
		SKIP(return, "no huge pages");
	ASSERT_EQ(0, peer_start(&p));
	for (i = 1; i < (int)ARRAY_SIZE(kinds); i++)
		USE_BESIDE(BASE + 7 * GIB, GIB, &kinds[i]);
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, spew_num(POOL, pool));
}

/* The window fills its unit, so the neighbours have tables of their own. */
TEST_F(mshare, huge_pages_beside_a_whole_unit)
{
	long pool = pool_begin(24);
	struct peer p;
	int i;

	if (pool < 0 || !have_thp())
		SKIP(return, "no huge pages");
	ASSERT_EQ(0, peer_start(&p));
	for (i = 0; i < (int)ARRAY_SIZE(kinds); i++)
		USE_BESIDE(BASE, UNIT, &kinds[i]);
	USE_BESIDE(BASE - GIB, UNIT + 2 * GIB, &kinds[1]);
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, spew_num(POOL, pool));
}

/* hugetlb shares tables of its own between the processes that map a file. */
PEER_FN(pf_map_file)
{
	PEER_UNUSED();
	return map_fd((void *)a, b, RW, MAP_SHARED | MAP_NORESERVE, c, 0);
}

TEST_F(mshare, hugetlb_shares_tables_beside_a_window)
{
	char *at = BASE + 7 * GIB, *below = at - GIB, *above = at + GIB;
	long pool = pool_begin(8);
	struct peer p;
	int i, fd;

	if (pool < 0)
		SKIP(return, "no huge pages");
	fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, GIB));
	ASSERT_EQ(0, peer_start(&p));
	self->addr = at;
	self->len = GIB;
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);
	ASSERT_EQ(0, map_anon(at, PAGE, RW));
	for (i = 0; i < 6; i++) {
		ASSERT_EQ(0, probe_store(at, i));
		ASSERT_EQ(0, pf_map_file((long)below, GIB, fd, 0, 0, 0));
		ASSERT_EQ(0, pf_map_file((long)above, GIB, fd, 0, 0, 0));
		ASSERT_EQ(0, peer_call(&p, pf_map_file, (long)below, GIB, fd));
		ASSERT_EQ(0, peer_call(&p, pf_map_file, (long)above, GIB, fd));
		ASSERT_EQ(0, probe_store(below + GIB - PAGE, 10 + i));
		ASSERT_EQ(0, peer_store(&p, above, 20 + i));
		EXPECT_EQ(10 + i, peer_see(&p, above + GIB - PAGE));
		EXPECT_EQ(20 + i, load(below));
		EXPECT_EQ(i, peer_see(&p, at));
		/* One of them leaves, in each order. */
		if (i & 1) {
			ASSERT_EQ(0, do_munmap(below, 3 * GIB));
			ASSERT_EQ(0, sys_mshare(self->name, at, GIB, O_RDWR, 0));
		} else {
			ASSERT_EQ(0, do_munmap(below, GIB));
			ASSERT_EQ(0, do_munmap(above, GIB));
		}
		EXPECT_EQ(SIGSEGV, probe_byte(below + GIB - PAGE));
		EXPECT_EQ(i, load(at));
		EXPECT_EQ(10 + i, peer_see(&p, below + GIB - PAGE));
		ASSERT_EQ(0, peer_munmap(&p, below, GIB));
		ASSERT_EQ(0, peer_munmap(&p, above, GIB));
		EXPECT_EQ(i, peer_see(&p, at));
	}
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
	close(fd);
	EXPECT_EQ(0, spew_num(POOL, pool));
}

/* What lies beside the range stays with the creator. */
TEST_F(mshare, donation_leaves_huge_neighbours)
{
	long before, pool = pool_begin(24);
	struct scene s;
	struct peer p;
	int i, k;
	struct { char *at; size_t len; } ranges[] = {
		{ BASE + 7 * GIB, GIB },
		{ BASE, UNIT },
		{ BASE - GIB, UNIT + 2 * GIB },
	};

	if (pool < 0 || !have_thp())
		SKIP(return, "no huge pages");
	ASSERT_EQ(0, peer_start(&p));
	for (i = 0; i < (int)(ARRAY_SIZE(ranges) * ARRAY_SIZE(kinds)); i++) {
		k = i % ARRAY_SIZE(kinds);
		scene_set(&s, ranges[i / ARRAY_SIZE(kinds)].at,
			  ranges[i / ARRAY_SIZE(kinds)].len, &kinds[k]);
		ASSERT_TRUE(neighbours_up(&s, 7000));
		/* So that they are not merged with what will be donated. */
		ASSERT_EQ(0, do_madvise(s.below, BESIDE, MADV_DONTDUMP));
		ASSERT_EQ(0, do_madvise(s.above, BESIDE, MADV_DONTDUMP));
		before = self_status("VmPTE");
		ASSERT_TRUE(window_up(&s, 5000));
		ASSERT_EQ(0, sys_mshare(self->name, s.at, s.len,
					O_CREAT | O_EXCL | O_RDWR, 0600));
		ASSERT_EQ(0, peer_call(&p, pf_mshare, (long)self->name,
				       (long)s.at, (long)s.len, O_RDWR));
		EXPECT_EQ(before, self_status("VmPTE"));
		EXPECT_TRUE(neighbours_hold(&s, 7000));
		EXPECT_TRUE(peer_window_holds(&p, &s, 5000));
		ASSERT_EQ(0, mark(s.below, 8000));
		ASSERT_EQ(0, mark(s.above, 8100));
		EXPECT_EQ(0, debug_check());
		ASSERT_EQ(0, do_munmap(s.below, BESIDE));
		EXPECT_TRUE(window_holds(&s, 5000));
		ASSERT_EQ(0, do_munmap(s.above, BESIDE));
		EXPECT_TRUE(peer_window_holds(&p, &s, 5000));
		ASSERT_EQ(0, peer_munmap(&p, s.at, s.len));
		EXPECT_TRUE(window_holds(&s, 5000));
		ASSERT_EQ(0, sys_mshare_unlink(self->name));
	}
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, spew_num(POOL, pool));
}

/* A process that is killed leaves neither huge pages nor the window's tables. */
TEST_F(mshare, killed_with_huge_neighbours)
{
	long pool = pool_begin(24);
	struct scene s;
	int i, status;
	pid_t pid;

	if (pool < 0 || !have_thp())
		SKIP(return, "no huge pages");
	for (i = 0; i < 2 * (int)ARRAY_SIZE(kinds); i++) {
		scene_set(&s, BASE + 7 * GIB, GIB, &kinds[i / 2]);
		ASSERT_EQ(0, sys_mshare(self->name, s.at, s.len,
					O_CREAT | O_EXCL | O_RDWR, 0600));
		ASSERT_TRUE(window_up(&s, 5000));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			if (!neighbours_up(&s, 7000) || mark(s.low, 6000))
				_exit(1);
			if (i & 1)
				kill(getpid(), SIGKILL);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(i & 1 ? SIGKILL : 0, status);
		EXPECT_TRUE(marked(s.low, 6000));
		EXPECT_TRUE(marked(s.high, 5100));
		EXPECT_TRUE(nothing_at(s.below) && nothing_at(s.above));
		EXPECT_EQ(24, meminfo_kb("HugePages_Free"));
		ASSERT_EQ(0, sys_mshare_unlink(self->name));
	}
	EXPECT_EQ(0, spew_num(POOL, pool));
}

/* ------------------------------------------------------------ five levels */

/*
 * Where partial and whole units begin and end above 2^47: in the middle of what
 * an entry of the top table spans, and at its border.
 */
TEST_F(mshare, la57_units)
{
	char *mid = (char *)(5 * TOP + 7 * UNIT), *top = (char *)(6 * TOP);
	struct peer p;
	int i;
	struct { char *at; size_t len; long tables; } r[] = {
		{ mid + 5 * GIB, GIB, 4 },
		{ mid - GIB, GIB, 4 },		/* up to a unit */
		{ mid, GIB, 4 },		/* from a unit on */
		{ mid - GIB, 2 * GIB, 8 },
		{ mid, UNIT, 0 },
		{ mid - GIB, UNIT + 2 * GIB, 8 },
		{ top - GIB, GIB, 4 },
		{ top - GIB, 2 * GIB, 8 },
		{ top - GIB, UNIT + GIB, 4 },
		{ top - UNIT, UNIT + GIB, 4 },
		{ top - UNIT, 2 * UNIT, 0 },
		{ (char *)HIGH, GIB, 4 },
		{ (char *)HIGH, UNIT + GIB, 4 },
	};

	if (!have_high_addresses())
		SKIP(return, "no 5-level page tables");
	ASSERT_EQ(0, peer_start(&p));
	for (i = 0; i < (int)ARRAY_SIZE(r); i++) {
		long before = self_status("VmPTE");
		struct scene s;

		TH_LOG("%lu GiB at %p", r[i].len / GIB, r[i].at);
		scene_set(&s, r[i].at, r[i].len, TRANSPARENT);
		ASSERT_EQ(0, sys_mshare(self->name, s.at, s.len,
					O_CREAT | O_EXCL | O_RDWR, 0600));
		ASSERT_EQ(0, peer_call(&p, pf_mshare, (long)self->name,
				       (long)s.at, (long)s.len, O_RDONLY));
		EXPECT_EQ(before + r[i].tables, self_status("VmPTE"));
		ASSERT_TRUE(window_up(&s, 5000));
		EXPECT_TRUE(peer_window_holds(&p, &s, 5000));
		EXPECT_EQ(SIGSEGV, peer_store(&p, s.low, 1));
		EXPECT_EQ(SIGSEGV, peer_store(&p, s.high + BESIDE - PAGE, 1));
		EXPECT_EQ(SIGSEGV, probe_byte(s.at - PAGE));
		EXPECT_EQ(SIGSEGV, probe_byte(s.above));
		EXPECT_EQ(0, debug_check());
		/* The last mappings go, and with them the lower tables. */
		ASSERT_EQ(0, do_munmap(s.at, BESIDE));
		ASSERT_EQ(0, do_munmap(s.high, BESIDE));
		EXPECT_EQ(SIGBUS, peer_load(&p, s.low));
		EXPECT_EQ(0, debug_check());
		ASSERT_TRUE(window_up(&s, 6000));
		EXPECT_TRUE(peer_window_holds(&p, &s, 6000));
		EXPECT_EQ(0, do_munmap(s.at, s.len));
		EXPECT_EQ(before, self_status("VmPTE"));
		EXPECT_EQ(SIGSEGV, probe_byte(s.low));
		EXPECT_TRUE(peer_window_holds(&p, &s, 6000));
		EXPECT_EQ(0, peer_munmap(&p, s.at, s.len));
		EXPECT_EQ(0, sys_mshare_unlink(self->name));
	}
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, la57_huge_pages_beside_a_window)
{
	char *mid = (char *)(5 * TOP + 7 * UNIT), *top = (char *)(6 * TOP);
	long pool = pool_begin(24);
	struct peer p;
	int i;

	if (!have_high_addresses() || pool < 0 || !have_thp())
		SKIP(return, "no 5-level page tables, or no huge pages");
	ASSERT_EQ(0, peer_start(&p));
	for (i = 0; i < (int)ARRAY_SIZE(kinds); i++) {
		USE_BESIDE(mid, GIB, &kinds[i]);
		USE_BESIDE(top, UNIT, &kinds[i]);
	}
	USE_BESIDE(top - GIB, 2 * GIB, &kinds[1]);
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, spew_num(POOL, pool));
}

TEST_F(mshare, la57_donation)
{
	char *top = (char *)(6 * TOP);
	struct scene s;
	struct peer p;
	long before;
	int i;
	struct { char *at; size_t len; long tables; } r[] = {
		{ top - GIB, 2 * GIB, 8 },
		{ top - UNIT, UNIT + GIB, 4 },
		{ top - GIB, UNIT + GIB, 4 },
	};

	if (!have_high_addresses())
		SKIP(return, "no 5-level page tables");
	ASSERT_EQ(0, peer_start(&p));
	for (i = 0; i < (int)ARRAY_SIZE(r); i++) {
		before = self_status("VmPTE");
		scene_set(&s, r[i].at, r[i].len, TRANSPARENT);
		ASSERT_TRUE(window_up(&s, 5000));
		ASSERT_EQ(0, map_anon(top - MEG, PAGE, RW));
		ASSERT_EQ(0, probe_store(top - MEG, 77));
		ASSERT_EQ(0, sys_mshare(self->name, s.at, s.len,
					O_CREAT | O_EXCL | O_RDWR, 0600));
		EXPECT_EQ(before + r[i].tables, self_status("VmPTE"));
		ASSERT_EQ(0, peer_call(&p, pf_mshare, (long)self->name,
				       (long)s.at, (long)s.len, O_RDWR));
		EXPECT_TRUE(peer_window_holds(&p, &s, 5000));
		EXPECT_EQ(77, peer_see(&p, top - MEG));
		EXPECT_EQ(0, debug_check());
		ASSERT_EQ(0, do_munmap(s.at, s.len));
		EXPECT_EQ(before, self_status("VmPTE"));
		EXPECT_EQ(0, peer_munmap(&p, s.at, s.len));
		EXPECT_EQ(0, sys_mshare_unlink(self->name));
	}
	EXPECT_EQ(0, peer_stop(&p));
}

/* A hint above 2^47 is not followed into a window either. */
TEST_F(mshare, la57_hints)
{
	static const long hints[] = { 0, MEG, GIB - PAGE, -PAGE };
	char *at = (char *)(5 * TOP + 7 * UNIT);
	struct peer p;
	unsigned int i;
	char *got;
	int fd;

	if (!have_high_addresses())
		SKIP(return, "no 5-level page tables");
	ASSERT_EQ(0, peer_start(&p));
	self->addr = at;
	self->len = GIB;
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);
	for (i = 0; i < ARRAY_SIZE(hints); i++) {
		got = mmap(at + hints[i], 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
		ASSERT_NE(MAP_FAILED, got);
		EXPECT_TRUE(got + 2 * PAGE <= at || got >= at + GIB)
			TH_LOG("hint %p is followed to %p", at + hints[i],
			       got);
		EXPECT_EQ(0, probe_store(got, 1));
		EXPECT_EQ(SIGBUS, peer_load(&p, at + MEG));
		EXPECT_EQ(0, do_munmap(got, 2 * PAGE));
	}
	/* Beside the window a hint is followed, and above 2^47 as well. */
	got = mmap(at + GIB, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT_EQ(at + GIB, got);
	EXPECT_EQ(0, probe_store(at + GIB, 3));
	EXPECT_EQ(SIGSEGV, peer_load(&p, at + GIB));
	/* A window up there does not draw other mappings after it. */
	got = mmap(NULL, MEG, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT_GT((char *)HIGH, got);
	EXPECT_EQ(0, do_munmap(got, MEG));

	/* By a descriptor no hint is needed: the region has one address. */
	ASSERT_EQ(0, map_anon(at, PAGE, RW));
	ASSERT_EQ(0, probe_store(at, 9));
	ASSERT_EQ(0, do_munmap(at, GIB));
	fd = open(self->path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	got = mmap(NULL, GIB, RW, MAP_SHARED, fd, 0);
	EXPECT_EQ(at, got);
	EXPECT_EQ(9, load(at));
	EXPECT_EQ(0, do_munmap(at, GIB));
	got = mmap((void *)MEG, GIB, PROT_READ, MAP_SHARED, fd, 0);
	EXPECT_EQ(at, got);
	close(fd);
	EXPECT_EQ(3, load(at + GIB));
	EXPECT_EQ(0, peer_stop(&p));
}

/*
 * The tables above the PUD tables are in no figure of a process. Its memory
 * cgroup is charged for them.
 */
#define GROUP	"/sys/fs/cgroup/mshare-kst-beside"

static long group_kernel_kb(void)
{
	long bytes = figure(GROUP "/memory.stat", "kernel");

	return bytes < 0 ? bytes : bytes / 1024;
}

/*
 * Attach in d children, which leave in one of two ways. With e, one of the first
 * e allocations fails in each child. Return: how many could not attach.
 */
PEER_FN(pf_attach_in_children)
{
	long i, failed = 0;
	int fd, status;
	pid_t pid;

	PEER_UNUSED();
	for (i = 0; i < d; i++) {
		pid = fork();
		if (pid < 0)
			return -errno;
		if (!pid) {
			fd = e ? failnth_open() : -1;
			if (e)
				failnth_arm(fd, 1 + i % e);
			status = sys_mshare((const char *)a, (void *)b, c,
					    O_RDWR, 0);
			if (e)
				failnth_hit(fd);
			if (!status && (i & 1))
				status = do_munmap((void *)b, c);
			_exit(-status);
		}
		if (waitpid(pid, &status, 0) != pid)
			return -errno;
		if (status && status != ENOMEM << 8)
			return -EIO;
		failed += !!status;
	}
	return failed;
}

TEST_F(mshare, la57_top_tables_are_freed)
{
	char *at = (char *)(6 * TOP - GIB), pid[16];
	long rounds = scaled(400, 200), before, failed;
	int fd = failnth_open();
	struct peer p;

	if (!have_high_addresses())
		SKIP(return, "no 5-level page tables");
	spew("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	rmdir(GROUP);
	if (mkdir(GROUP, 0755) || group_kernel_kb() < 0)
		SKIP(return, "no memory cgroups");
	ASSERT_EQ(0, sys_mshare(self->name, at, 2 * GIB, O_CREAT | O_RDWR,
				0600));
	ASSERT_EQ(0, do_munmap(at, 2 * GIB));
	ASSERT_EQ(0, peer_start(&p));
	snprintf(pid, sizeof(pid), "%d", p.pid);
	ASSERT_EQ(0, spew(GROUP "/cgroup.procs", pid));
	/* For what is allocated once. */
	ASSERT_EQ(0, peer_call(&p, pf_attach_in_children, (long)self->name,
			       (long)at, 2 * GIB, 10));

	/* Two such tables for each child, 8 kB. */
	before = group_kernel_kb();
	ASSERT_EQ(0, peer_call(&p, pf_attach_in_children, (long)self->name,
			       (long)at, 2 * GIB, rounds));
	EXPECT_TRUE(WAIT_FOR(group_kernel_kb() - before < rounds, 10000))
		TH_LOG("%ld kB more after %ld rounds",
		       group_kernel_kb() - before, rounds);

	if (fd >= 0) {
		before = group_kernel_kb();
		failed = peer_call(&p, pf_attach_in_children, (long)self->name,
				   (long)at, 2 * GIB, rounds, 20);
		EXPECT_LE(rounds / 4, failed);
		EXPECT_TRUE(WAIT_FOR(group_kernel_kb() - before < rounds / 4,
				     10000))
			TH_LOG("%ld kB more after %ld failures",
			       group_kernel_kb() - before, failed);
		close(fd);
	} else {
		TH_LOG("no fault injection");
	}
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_TRUE(WAIT_FOR(!rmdir(GROUP), 10000));
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
