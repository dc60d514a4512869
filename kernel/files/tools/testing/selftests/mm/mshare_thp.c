// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: huge pages in a region, made and split while sharers use them.
 */
#include "mshare_helpers.h"

#define THP "/sys/kernel/mm/transparent_hugepage/"
#define HPAGE (2 * MEG)

static bool thp_allowed(void)
{
	char buf[256];

	return slurp(THP "enabled", buf, sizeof(buf)) > 0 &&
	       !strstr(buf, "[never]");
}

/* The same number of base pages, each with its number in it. */
static long fill_small(char *at, size_t len)
{
	size_t off;
	long ret;

	ret = do_madvise(at, len, MADV_NOHUGEPAGE);
	for (off = 0; off < len && !ret; off += PAGE)
		ret = probe_store(at + off, off);
	return ret;
}

static int bad_pages(char *at, size_t len)
{
	size_t off;
	int bad = 0;

	for (off = 0; off < len; off += PAGE)
		bad += load(at + off) != (long)off;
	return bad;
}

PEER_FN(pf_bad_pages)
{
	PEER_UNUSED();
	return bad_pages((char *)a, b);
}

TEST_F(mshare, thp_fault)
{
	struct peer p;

	if (!thp_allowed())
		SKIP(return, "transparent huge pages are off");
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, 4 * HPAGE, RW));
	ASSERT_EQ(0, do_madvise(self->addr, 4 * HPAGE, MADV_HUGEPAGE));
	/* Each sharer writes to a part of the same page. */
	ASSERT_EQ(0, probe_store(self->addr, 1));
	ASSERT_EQ(0, peer_store(&p, self->addr + HPAGE, 2));
	ASSERT_EQ(0, peer_see(&p, self->addr + 2 * HPAGE));
	EXPECT_LE(4096, smaps_kb(getpid(), self->addr, "AnonHugePages"));
	EXPECT_EQ(1, peer_see(&p, self->addr));
	EXPECT_EQ(2, load(self->addr + HPAGE));
	/* The huge zero page gives way to a page of the region. */
	ASSERT_EQ(0, load(self->addr + 2 * HPAGE));
	ASSERT_EQ(0, probe_store(self->addr + 2 * HPAGE + PAGE, 3));
	EXPECT_EQ(3, peer_see(&p, self->addr + 2 * HPAGE + PAGE));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* The region of a creator without huge pages has none, for all sharers. */
TEST_F(mshare, thp_disabled_by_maker)
{
	struct peer p;

	if (!thp_allowed())
		SKIP(return, "transparent huge pages are off");
	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, neg(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)));
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);
	ASSERT_EQ(0, map_anon(self->addr, 4 * HPAGE, RW));
	ASSERT_EQ(0, do_madvise(self->addr, 4 * HPAGE, MADV_HUGEPAGE));
	ASSERT_EQ(0, probe_store(self->addr, 1));
	ASSERT_EQ(0, peer_store(&p, self->addr + HPAGE, 2));
	EXPECT_EQ(0, smaps_kb(getpid(), self->addr, "AnonHugePages"));
	EXPECT_EQ(8, region_figure(self->name, "mshare-resident-kb"));
	/* The setting of a single sharer does not affect the region. */
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(0, peer_munmap(&p, self->addr, self->len));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	ASSERT_EQ(0, peer_call(&p, pf_mshare, (long)self->name,
			       (long)self->addr, (long)self->len,
			       O_CREAT | O_EXCL | O_RDWR, 0600));
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len, O_RDWR, 0));
	ASSERT_EQ(0, map_anon(self->addr, 4 * HPAGE, RW));
	ASSERT_EQ(0, do_madvise(self->addr, 4 * HPAGE, MADV_HUGEPAGE));
	ASSERT_EQ(0, probe_store(self->addr, 1));
	EXPECT_EQ((long)HPAGE / 1024,
		  region_figure(self->name, "mshare-resident-kb"));
	EXPECT_EQ(0, peer_stop(&p));
}

/* Add to counters in the range until stopped; the number of rounds in val. */
struct load_ctl {
	long stop;
	long done;
};

static __noreturn void hammer(struct load_ctl *ctl, char *at, int lane)
{
	long n = 0, page;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!READ_ONCE(ctl->stop)) {
		page = n % 512;
		__atomic_add_fetch((long *)(at + page * PAGE + 64 + 8 * lane),
				   1, __ATOMIC_SEQ_CST);
		n++;
	}
	__atomic_add_fetch(&ctl->done, n, __ATOMIC_SEQ_CST);
	_exit(0);
}

TEST_F(mshare, khugepaged_collapse_under_load)
{
	struct load_ctl *ctl = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS,
				    -1, 0);
	long before, sum = 0, collapsed;
	char sleep[32], alloc[32], scan[32];
	pid_t pid[2];
	int i, lane, status;

	ASSERT_NE(MAP_FAILED, ctl);
	if (!thp_allowed())
		SKIP(return, "transparent huge pages are off");
	ASSERT_LT(0, slurp(THP "khugepaged/scan_sleep_millisecs", sleep,
			   sizeof(sleep)));
	ASSERT_LT(0, slurp(THP "khugepaged/alloc_sleep_millisecs", alloc,
			   sizeof(alloc)));
	ASSERT_LT(0, slurp(THP "khugepaged/pages_to_scan", scan,
			   sizeof(scan)));
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, HPAGE, RW));
	ASSERT_EQ(0, fill_small(self->addr, HPAGE));
	before = vmstat_count("thp_collapse_alloc");
	for (lane = 0; lane < 2; lane++) {
		pid[lane] = fork();
		ASSERT_LE(0, pid[lane]);
		if (!pid[lane])
			hammer(ctl, self->addr, lane);
	}
	spew_num(THP "khugepaged/scan_sleep_millisecs", 10);
	spew_num(THP "khugepaged/alloc_sleep_millisecs", 10);
	spew_num(THP "khugepaged/pages_to_scan", 65536);
	ASSERT_EQ(0, do_madvise(self->addr, HPAGE, MADV_HUGEPAGE));
	WAIT_FOR(vmstat_count("thp_collapse_alloc") > before,
		 scaled(20000, 50000));
	nap_ms(200);
	collapsed = vmstat_count("thp_collapse_alloc") - before;
	WRITE_ONCE(ctl->stop, 1);
	for (lane = 0; lane < 2; lane++) {
		EXPECT_EQ(pid[lane], waitpid(pid[lane], &status, 0));
		EXPECT_EQ(0, status);
	}
	spew(THP "khugepaged/scan_sleep_millisecs", sleep);
	spew(THP "khugepaged/alloc_sleep_millisecs", alloc);
	spew(THP "khugepaged/pages_to_scan", scan);

	EXPECT_LT(0, collapsed);
	for (i = 0; i < 512; i++)
		for (lane = 0; lane < 2; lane++)
			sum += load(self->addr + i * PAGE + 64 + 8 * lane);
	/* No addition was lost on a page that was copied away. */
	EXPECT_EQ(ctl->done, sum);
	EXPECT_EQ(0, bad_pages(self->addr, HPAGE));
	EXPECT_EQ(0, debug_check());
}

TEST_F(mshare, madv_collapse)
{
	struct peer p;

	if (!thp_allowed())
		SKIP(return, "transparent huge pages are off");
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, 2 * HPAGE, RW));
	ASSERT_EQ(0, fill_small(self->addr, 2 * HPAGE));
	ASSERT_EQ(0, peer_call(&p, pf_bad_pages, (long)self->addr, 2 * HPAGE));
	/* Advice against huge pages applies to MADV_COLLAPSE as well. */
	EXPECT_GT(0, do_madvise(self->addr, HPAGE, MADV_COLLAPSE));
	ASSERT_EQ(0, do_madvise(self->addr, 2 * HPAGE, MADV_HUGEPAGE));
	ASSERT_EQ(0, peer_call(&p, pf_madvise, (long)self->addr, HPAGE,
			       MADV_COLLAPSE));
	EXPECT_EQ(2048, smaps_kb(getpid(), self->addr, "AnonHugePages"));
	EXPECT_EQ(0, bad_pages(self->addr, 2 * HPAGE));
	EXPECT_EQ(0, peer_call(&p, pf_bad_pages, (long)self->addr, 2 * HPAGE));
	EXPECT_EQ(0, peer_store(&p, self->addr + PAGE, 99));
	EXPECT_EQ(99, load(self->addr + PAGE));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/*
 * Read the range over and over; the number of pages that were ever wrong in
 * val.
 */
static __noreturn void watch(struct load_ctl *ctl, char *at, size_t len)
{
	long bad = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	do {
		bad += bad_pages(at, len);
		WRITE_ONCE(ctl->done, ctl->done + 1);
	} while (!READ_ONCE(ctl->stop));
	_exit(bad != 0);
}

TEST_F(mshare, split_under_ro_sharer)
{
	struct load_ctl *ctl = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS,
				    -1, 0);
	int i, status, rounds = scaled(20, 6), collapsed = 0;
	pid_t pid;
	size_t off;
	long val;

	ASSERT_NE(MAP_FAILED, ctl);
	if (!thp_allowed())
		SKIP(return, "transparent huge pages are off");
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* Attached by name, read-only. */
		while (sys_mshare(self->name, self->addr, self->len, O_RDONLY,
				  0))
			nap_ms(5);
		while (!READ_ONCE(ctl->done))
			nap_ms(2);
		watch(ctl, self->addr, HPAGE / 2);
	}
	MAKE_REGION();
	for (i = 0; i < rounds; i++) {
		/*
		 * The watched half keeps its values all the time: it is split
		 * by mprotect(), by MADV_DONTNEED and finally by munmap(), and
		 * collapsed again.
		 */
		if (!i) {
			ASSERT_EQ(0, map_anon(self->addr, HPAGE, RW));
			ASSERT_EQ(0, do_madvise(self->addr, HPAGE,
						MADV_HUGEPAGE));
			for (off = 0; off < HPAGE; off += PAGE)
				ASSERT_EQ(0, probe_store(self->addr + off,
							 off));
			WRITE_ONCE(ctl->done, 1);
		}
		val = READ_ONCE(ctl->done);
		ASSERT_TRUE(WAIT_FOR(READ_ONCE(ctl->done) > val, 20000));
		switch (i == rounds - 1 ? 2 : i % 2) {
		case 2:
			ASSERT_EQ(0, do_munmap(self->addr + HPAGE - PAGE,
					       PAGE));
			EXPECT_EQ(SIGBUS, probe_byte(self->addr + HPAGE -
						     PAGE));
			ASSERT_EQ(0, map_anon(self->addr + HPAGE - PAGE, PAGE,
					      RW));
			break;
		case 1:
			ASSERT_EQ(0, do_mprotect(self->addr + HPAGE - 2 * PAGE,
						 PAGE, PROT_READ));
			EXPECT_EQ(SIGSEGV, probe_store(self->addr + HPAGE -
						       2 * PAGE, 1));
			ASSERT_EQ(0, do_mprotect(self->addr, HPAGE, RW));
			break;
		default:
			ASSERT_EQ(0, do_madvise(self->addr + HPAGE - 3 * PAGE,
						PAGE, MADV_DONTNEED));
			EXPECT_EQ(0, load(self->addr + HPAGE - 3 * PAGE));
		}
		collapsed += !do_madvise(self->addr, HPAGE, MADV_COLLAPSE);
		ASSERT_EQ(0, debug_check());
	}
	WRITE_ONCE(ctl->stop, 1);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, bad_pages(self->addr, HPAGE / 2));
	/* Otherwise only the first was split. */
	EXPECT_LT(0, collapsed);
}

TEST_F(mshare, ksm_refused)
{
	long ret;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ret = do_madvise(self->addr, MEG, MADV_MERGEABLE);
	EXPECT_TRUE(ret == -EINVAL || ret == -EOPNOTSUPP)
		TH_LOG("MADV_MERGEABLE: %ld", ret);
	ret = do_madvise(self->addr, self->len, MADV_MERGEABLE);
	EXPECT_TRUE(ret == -EINVAL || ret == -EOPNOTSUPP)
		TH_LOG("MADV_MERGEABLE, whole window: %ld", ret);
	EXPECT_EQ(0, probe_store(self->addr, 1));
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
