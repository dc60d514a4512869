// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: which memory cgroup is charged for a region's pages.
 */
#include "mshare_helpers.h"

#define CGROUP "/sys/fs/cgroup"
#define CG_PREFIX "mshare-kst-"

static void cg_path(char *buf, size_t size, const char *name, const char *file)
{
	snprintf(buf, size, CGROUP "/" CG_PREFIX "%s/%s", name, file);
}

static long cg_write(const char *name, const char *file, const char *text)
{
	char path[256];

	cg_path(path, sizeof(path), name, file);
	return spew(path, text);
}

static long cg_number(const char *name, const char *file)
{
	char path[256], buf[64];

	cg_path(path, sizeof(path), name, file);
	if (slurp(path, buf, sizeof(buf)) <= 0)
		return -1;
	return atol(buf);
}

static long cg_event(const char *name, const char *key)
{
	char path[256];

	cg_path(path, sizeof(path), name, "memory.events");
	return figure(path, key);
}

static long cg_kb(const char *name)
{
	return cg_number(name, "memory.current") / 1024;
}

/* True once the group and all its processes are gone. */
static bool cg_remove(const char *name)
{
	char path[256];

	cg_path(path, sizeof(path), name, "");
	return WAIT_FOR(!rmdir(path) || errno == ENOENT, 10000);
}

static bool cg_make(const char *name)
{
	char path[256];

	if (!cg_remove(name))
		return false;
	cg_path(path, sizeof(path), name, "");
	if (mkdir(path, 0755))
		return false;
	cg_path(path, sizeof(path), name, "memory.current");
	return !access(path, R_OK);
}

/* False if there is no memory controller to test with. */
static bool cg_have(void)
{
	spew(CGROUP "/cgroup.subtree_control", "+memory");
	if (!cg_make("probe"))
		return false;
	return cg_remove("probe");
}

static bool cg_enter(const char *name, pid_t pid)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	return !cg_write(name, "cgroup.procs", text);
}

PEER_FN(pf_touch)
{
	long off;

	PEER_UNUSED();
	for (off = 0; off < b; off += PAGE)
		if (probe_store((void *)(a + off), off + 1))
			return -EFAULT;
	return 0;
}

/* A page is charged to the group that first touches it, as in tmpfs. */
TEST_F(mshare, charged_to_first_toucher)
{
	const long len = 16 * MEG, kb = len / 1024;
	long a = (long)self->addr;
	struct peer maker, first, second;

	if (!cg_have())
		SKIP(return, "no memory cgroups");
	ASSERT_TRUE(cg_make("a") && cg_make("b") && cg_make("c"));
	ASSERT_EQ(0, peer_start(&maker));
	ASSERT_EQ(0, peer_start(&first));
	ASSERT_EQ(0, peer_start(&second));
	ASSERT_TRUE(cg_enter("a", maker.pid));
	ASSERT_TRUE(cg_enter("b", first.pid));
	ASSERT_TRUE(cg_enter("c", second.pid));

	ASSERT_EQ(0, peer_call(&maker, pf_mshare, (long)self->name, a,
			       (long)self->len, O_CREAT | O_RDWR, 0600));
	ASSERT_EQ(0, peer_call(&maker, pf_map_anon, a, len, RW));
	ASSERT_EQ(0, peer_call(&maker, pf_map_shmem, a + len, len, RW));
	ATTACH_PEER(&first, O_RDWR);
	ATTACH_PEER(&second, O_RDWR);
	ASSERT_EQ(0, peer_call(&first, pf_touch, a, 2 * len));
	EXPECT_LT(2 * kb - 2048, cg_kb("b"));
	EXPECT_GT(4096, cg_kb("a"));
	/* Touching resident pages is not charged. */
	ASSERT_EQ(0, peer_call(&second, pf_touch, a, 2 * len));
	EXPECT_GT(4096, cg_kb("c"));
	/* New pages are charged, also to the creator's group. */
	ASSERT_EQ(0, peer_call(&second, pf_madvise, a, len, MADV_DONTNEED));
	EXPECT_GT(kb + 2048, cg_kb("b"));
	ASSERT_EQ(0, peer_call(&second, pf_touch, a, len));
	EXPECT_LT(kb - 1024, cg_kb("c"));

	/* The charge stays with the pages, not with the process. */
	EXPECT_EQ(0, peer_stop(&first));
	EXPECT_LT(kb - 1024, cg_kb("b"));
	EXPECT_EQ(0, peer_stop(&second));
	EXPECT_EQ(0, peer_call(&maker, pf_unlink, (long)self->name));
	EXPECT_TRUE(WAIT_FOR(cg_kb("b") < 4096 && cg_kb("c") < 4096, 20000))
		TH_LOG("%ld and %ld kB still charged", cg_kb("b"), cg_kb("c"));
	EXPECT_EQ(0, peer_stop(&maker));
	EXPECT_TRUE(cg_remove("a") && cg_remove("b") && cg_remove("c"));
}

/* A group at its limit gets its own OOM kill, and other groups do not. */
TEST_F(mshare, limit_hit_normal_oom)
{
	long a = (long)self->addr, start;
	struct peer p, q, r;
	int status;

	if (!cg_have())
		SKIP(return, "no memory cgroups");
	ASSERT_TRUE(cg_make("b"));
	ASSERT_EQ(0, cg_write("b", "memory.max", "12M"));
	cg_write("b", "memory.swap.max", "0");
	ASSERT_EQ(0, peer_start(&q));
	ASSERT_EQ(0, peer_start(&r));
	MAKE_SHARED();
	ATTACH_PEER(&q, O_RDWR);
	ATTACH_PEER(&r, O_RDWR);
	ASSERT_EQ(0, map_anon(self->addr, 64 * MEG, RW));
	ASSERT_TRUE(cg_enter("b", p.pid) && cg_enter("b", q.pid));

	start = now_ms();
	EXPECT_EQ(-ESRCH, peer_call(&p, pf_touch, a, 64 * MEG));
	status = peer_stop(&p);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGKILL, WTERMSIG(status));
	EXPECT_LT(0, cg_event("b", "oom_kill"));
	EXPECT_GT(30000, now_ms() - start);

	/*
	 * The pages belong to the region and stay charged. The other process in
	 * that group may read them. It is killed next when it needs more, and
	 * does not fault for ever.
	 */
	start = now_ms();
	if (cg_event("b", "oom_kill") == 1) {
		EXPECT_EQ(0, peer_load(&q, self->addr));
		EXPECT_EQ(-ESRCH, peer_call(&q, pf_touch, a + 32 * MEG,
					    32 * MEG));
	}
	status = peer_stop(&q);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_GT(30000, now_ms() - start);

	/* Tasks of other groups continue. */
	EXPECT_EQ(0, peer_call(&r, pf_touch, a, 64 * MEG));
	EXPECT_EQ(MEG + 1, load(self->addr + MEG));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&r));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(cg_remove("b"));
}

/* A system call that meets the limit for its caller fails or is killed. */
TEST_F(mshare, limit_hit_in_a_system_call)
{
	struct peer p;
	int status;
	long ret;

	if (!cg_have())
		SKIP(return, "no memory cgroups");
	ASSERT_TRUE(cg_make("b"));
	ASSERT_EQ(0, cg_write("b", "memory.max", "8M"));
	cg_write("b", "memory.swap.max", "0");
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, 64 * MEG, RW));
	ASSERT_TRUE(cg_enter("b", p.pid));
	ret = peer_call(&p, pf_madvise, (long)self->addr, 64 * MEG,
			MADV_POPULATE_WRITE);
	EXPECT_GT(0, ret);
	status = peer_stop(&p);
	EXPECT_TRUE(ret != -ESRCH || WIFSIGNALED(status));
	EXPECT_EQ(0, probe_store(self->addr + 63 * MEG, 1));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(cg_remove("b"));
}

/* The charged group is removed; its pages stay in use until freed. */
TEST_F(mshare, toucher_cgroup_removed)
{
	const long len = 8 * MEG;
	long a = (long)self->addr, i;
	struct peer p, q;
	int round;

	if (!cg_have())
		SKIP(return, "no memory cgroups");
	ASSERT_EQ(0, peer_start(&q));
	MAKE_REGION();
	ATTACH_PEER(&q, O_RDWR);
	ASSERT_EQ(0, map_anon(self->addr, 4 * len, RW));
	for (round = 0; round < 4; round++) {
		ASSERT_TRUE(cg_make("b"));
		ASSERT_EQ(0, peer_start(&p));
		ASSERT_TRUE(cg_enter("b", p.pid));
		ASSERT_EQ(0, peer_call(&p, pf_touch, a + round * len, len));
		EXPECT_LT(len / 1024 - 1024, cg_kb("b"));
		EXPECT_EQ(0, peer_stop(&p));
		ASSERT_TRUE(cg_remove("b"));

		for (i = 0; i < len; i += 8 * PAGE)
			ASSERT_EQ(i + 1, peer_see(&q, self->addr + round * len +
						  i));
		/* Pages freed and touched again, split, migrated. */
		ASSERT_EQ(0, do_madvise((void *)(a + round * len), len / 2,
					MADV_DONTNEED));
		ASSERT_EQ(0, peer_call(&q, pf_touch, a + round * len, len));
		ASSERT_EQ(0, do_madvise((void *)(a + round * len), len,
					MADV_PAGEOUT));
		ASSERT_EQ(len - PAGE + 1, load(self->addr + (round + 1) * len -
					       PAGE));
	}
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&q));
}

/* A line of memory.stat. */
static long cg_stat(const char *name, const char *key)
{
	char path[256];

	cg_path(path, sizeof(path), name, "memory.stat");
	return figure(path, key);
}

/* Statistics of the group of the task that faults. */
TEST_F(mshare, faults_counted_for_toucher)
{
	const long pages = 1024;
	long before, after;
	struct peer p;

	if (!cg_have())
		SKIP(return, "no memory cgroups");
	ASSERT_TRUE(cg_make("b"));
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, pages * PAGE, RW));
	/* One fault for each page, whatever the machine's settings are. */
	if (have_thp())
		ASSERT_EQ(0, do_madvise(self->addr, pages * PAGE,
					MADV_NOHUGEPAGE));
	ASSERT_TRUE(cg_enter("b", p.pid));
	before = cg_stat("b", "pgfault");
	ASSERT_LE(0, before);
	ASSERT_EQ(0, peer_call(&p, pf_touch, (long)self->addr, pages * PAGE));
	after = cg_stat("b", "pgfault");
	EXPECT_LE(before + pages, after);
	EXPECT_GT(before + 2 * pages, after);
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(cg_remove("b"));
}

#define THP "/sys/kernel/mm/transparent_hugepage/"
#define HPAGE (2 * MEG)

/* A huge page of khugepaged is charged to the group of the small pages. */
TEST_F(mshare, khugepaged_charges_toucher)
{
	const long len = 4 * HPAGE, kb = len / 1024;
	char sleep[32], alloc[32], scan[32];
	long a = (long)self->addr;
	struct peer p;

	if (!cg_have())
		SKIP(return, "no memory cgroups");
	if (slurp(THP "khugepaged/scan_sleep_millisecs", sleep,
		  sizeof(sleep)) < 0)
		SKIP(return, "no transparent huge pages");
	ASSERT_LT(0, slurp(THP "khugepaged/alloc_sleep_millisecs", alloc,
			   sizeof(alloc)));
	ASSERT_LT(0, slurp(THP "khugepaged/pages_to_scan", scan,
			   sizeof(scan)));
	ASSERT_TRUE(cg_make("b"));
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, len, RW));
	ASSERT_EQ(0, do_madvise(self->addr, len, MADV_NOHUGEPAGE));
	ASSERT_TRUE(cg_enter("b", p.pid));
	ASSERT_EQ(0, peer_call(&p, pf_touch, a, len));
	EXPECT_LT(kb - 1024, cg_kb("b"));
	EXPECT_EQ(0, cg_stat("b", "anon_thp"));

	spew_num(THP "khugepaged/scan_sleep_millisecs", 10);
	spew_num(THP "khugepaged/alloc_sleep_millisecs", 10);
	spew_num(THP "khugepaged/pages_to_scan", 65536);
	EXPECT_EQ(0, do_madvise(self->addr, len, MADV_HUGEPAGE));
	EXPECT_TRUE(WAIT_FOR(cg_stat("b", "anon_thp") == len,
			     scaled(30000, 60000)))
		TH_LOG("%ld bytes of huge pages charged to the group",
		       cg_stat("b", "anon_thp"));
	spew(THP "khugepaged/scan_sleep_millisecs", sleep);
	spew(THP "khugepaged/alloc_sleep_millisecs", alloc);
	spew(THP "khugepaged/pages_to_scan", scan);

	EXPECT_LT(kb - 1024, cg_kb("b"));
	EXPECT_GT(kb + 2048, cg_kb("b"));
	EXPECT_EQ(HPAGE + 1, load(self->addr + HPAGE));
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(cg_remove("b"));
}

/* How many pages of a range are in memory. */
static long pages_in(char *at, long pages)
{
	long i, n = 0;

	for (i = 0; i < pages; i++)
		n += resident(at + i * PAGE) == 1;
	return n;
}

/* Until killed. */
PEER_FN(pf_keep_warm)
{
	PEER_UNUSED();
	for (;;)
		for (c = 0; c < b; c += PAGE)
			(void)READ_ONCE(*(char *)(a + c));
	return 0;
}

/*
 * A group is short of memory. Pages that a sharer uses all the time are
 * reclaimed last, even if it belongs to another group.
 */
TEST_F(mshare, reclaim_spares_what_is_used)
{
	const long half = scaled(8, 4) * MEG, pages = half / PAGE;
	char *hot = self->addr, *cold = self->addr + half;
	long in_hot, in_cold;
	struct peer p, q;
	int swap, i;

	if (!cg_have())
		SKIP(return, "no memory cgroups");
	swap = swap_begin();
	if (swap < 0)
		SKIP(return, "no swap");
	ASSERT_TRUE(cg_make("b"));
	ASSERT_EQ(0, peer_start(&q));
	MAKE_SHARED();
	ATTACH_PEER(&q, O_RDWR);
	ASSERT_EQ(0, map_anon(self->addr, 2 * half, RW));
	ASSERT_TRUE(cg_enter("b", p.pid));
	ASSERT_EQ(0, peer_call(&p, pf_touch, (long)self->addr, 2 * half));
	ASSERT_EQ(0, peer_post(&q, PEER_REQ(pf_keep_warm, (long)hot, half)));

	/*
	 * Three quarters of a half, in small portions, so that the kernel can
	 * notice use in between.
	 */
	for (i = 0; i < half / MEG * 3; i++) {
		nap_ms(scaled(20, 100));
		cg_write("b", "memory.reclaim", "256K");
	}
	in_hot = pages_in(hot, pages);
	in_cold = pages_in(cold, pages);
	EXPECT_GT(2 * pages - pages / 4, in_hot + in_cold);
	EXPECT_GT(in_hot, in_cold + pages / 4)
		TH_LOG("of %ld pages each, %ld used and %ld unused ones are left",
		       pages, in_hot, in_cold);
	EXPECT_EQ(SIGKILL, peer_kill(&q));
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(cg_remove("b"));
	if (swap)
		EXPECT_EQ(0, swap_end());
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
