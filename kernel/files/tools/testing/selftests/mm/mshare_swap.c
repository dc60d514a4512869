// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: a region's memory on swap, and back.
 */
#include "mshare_helpers.h"
#include "mshare_work.h"
#include <sys/statvfs.h>

#define PAGES 1024L
#define IDLE 128L
/* CPUs keep some free swap slots for themselves. */
#define SLACK_KB 2048

static long fill(char *at, long pages)
{
	long i;

	for (i = 0; i < pages; i++)
		if (probe_store(at + i * PAGE, i + 1))
			return -EFAULT;
	return 0;
}

PEER_FN(pf_check)
{
	long i;

	PEER_UNUSED();
	for (i = 0; i < b; i++)
		if (load((char *)a + i * PAGE) != i + 1)
			return i + 1;
	return 0;
}

static long swapped_kb(void)
{
	return meminfo_kb("SwapTotal") - meminfo_kb("SwapFree");
}

/* Reclaim a range until at most a quarter of the region is resident. */
static long push_out(const char *name, char *at)
{
	long i, ret;

	for (i = 0; i < 50; i++) {
		ret = do_madvise(at, PAGES * PAGE, MADV_PAGEOUT);
		if (ret)
			return ret;
		if (region_figure(name, "mshare-resident-kb") <= PAGES)
			return 0;
		nap_ms(20);
	}
	return -ETIME;
}

TEST_F(mshare, swapped_out_and_in_by_another)
{
	char *anon = self->addr, *shm = self->addr + 8 * MEG;
	int swap = swap_begin();
	struct peer p;
	long used;

	if (swap < 0)
		SKIP(return, "no swap: %s", strerror(-swap));
	used = swapped_kb();
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(anon, PAGES * PAGE, RW));
	ASSERT_EQ(0, fill(anon, PAGES));
	ASSERT_EQ(0, push_out(self->name, anon));
	ASSERT_EQ(0, map_shmem(shm, PAGES * PAGE, RW));
	ASSERT_EQ(0, fill(shm, PAGES));
	ASSERT_EQ(0, push_out(self->name, shm));
	EXPECT_LT(PAGES, swapped_kb() - used);
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)anon, PAGES));
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)shm, PAGES));
	EXPECT_EQ(0, do_munmap(shm, PAGES * PAGE));
	/* Written while on swap, unmapped while on swap. */
	ASSERT_EQ(0, push_out(self->name, anon));
	EXPECT_EQ(0, peer_store(&p, anon, 77));
	EXPECT_EQ(77, load(anon));
	ASSERT_EQ(0, push_out(self->name, anon));
	EXPECT_EQ(0, do_munmap(anon, PAGES * PAGE / 2));
	EXPECT_EQ(SIGBUS, peer_load(&p, anon));
	EXPECT_EQ(PAGES, peer_see(&p, anon + (PAGES - 1) * PAGE));
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	if (swap)
		EXPECT_EQ(0, swap_end());
}

/* swapoff finds the pages of a region that no process uses. */
TEST_F(mshare, swapoff_without_sharer)
{
	int swap = swap_begin();
	struct peer p;

	if (swap < 0)
		SKIP(return, "no swap: %s", strerror(-swap));
	if (!swap)
		SKIP(return, "the swap in use is not ours to take away");
	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, peer_call(&p, pf_mshare, (long)self->name,
			       (long)self->addr, (long)self->len,
			       O_CREAT | O_RDWR, 0600));
	ASSERT_EQ(0, peer_stop(&p));
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len, O_RDWR, 0));
	ASSERT_EQ(0, map_anon(self->addr, PAGES * PAGE, RW));
	ASSERT_EQ(0, fill(self->addr, PAGES));
	ASSERT_EQ(0, push_out(self->name, self->addr));
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	ASSERT_EQ(0, region_figure(self->name, "mshare-sharers"));
	ASSERT_EQ(0, swap_end());
	EXPECT_TRUE(resident_is(self->name, PAGES * 4));
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len, O_RDONLY,
				0));
	EXPECT_EQ(0, pf_check((long)self->addr, PAGES, 0, 0, 0, 0));
	EXPECT_EQ(0, debug_check());
}

/* swapoff brings pages back in while sharers write to them and read them. */
TEST_F(mshare, swapoff_under_sharers)
{
	char *at = self->addr, *idle = self->addr + 16 * MEG;
	int swap = swap_begin(), round;
	struct work *w = new_work();
	pid_t pid[2];
	long out;

	ASSERT_NE(NULL, w);
	if (swap < 0)
		SKIP(return, "no swap: %s", strerror(-swap));
	if (!swap)
		SKIP(return, "the swap in use is not ours to take away");
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(at, WORK_PAGES / 2 * PAGE, RW));
	ASSERT_EQ(0, map_shmem(at + WORK_PAGES / 2 * PAGE,
			       WORK_PAGES / 2 * PAGE, RW));
	fill_work(at);
	/* Pages that are not used until swapoff reads them. */
	ASSERT_EQ(0, map_anon(idle, IDLE * PAGE, RW));
	ASSERT_EQ(0, fill(idle, IDLE));
	ASSERT_EQ(0, begin_work(w, pid, self->name, at, self->addr,
				self->len));
	for (round = 0; round < scaled(8, 2); round++) {
		if (round)
			ASSERT_EQ(0, neg(swapon(SWAP_DEVICE, 0)));
		out = vmstat_count("pswpout");
		/* A part of each kind: the workers read them back at once. */
		ASSERT_EQ(0, do_madvise(idle, IDLE * PAGE, MADV_PAGEOUT));
		ASSERT_EQ(0, do_madvise(at + (WORK_PAGES - IDLE) / 2 * PAGE,
					IDLE * PAGE, MADV_PAGEOUT));
		/* Otherwise nothing was tested. */
		EXPECT_LE(IDLE / 2, vmstat_count("pswpout") - out);
		ASSERT_EQ(0, swap_end());
		ASSERT_EQ(0, pf_check((long)idle, IDLE, 0, 0, 0, 0));
	}
	EXPECT_EQ(0, end_work(w, pid, at));
	EXPECT_EQ(0, debug_check());
}

/* Pages that count against size= of msharefs. */
static long counted_pages(void)
{
	struct statvfs st;

	return statvfs(MSHARE_DIR, &st) ? -errno :
					  (long)(st.f_blocks - st.f_bfree);
}

/*
 * swapoff holds the host of a region that is freed meanwhile. Nothing of the
 * region may remain in the count.
 */
TEST_F(mshare, swapoff_vs_unlink)
{
	int swap = swap_begin(), round, status;
	pid_t pid;

	if (swap < 0)
		SKIP(return, "no swap: %s", strerror(-swap));
	if (!swap)
		SKIP(return, "the swap in use is not ours to take away");
	for (round = 0; round < scaled(20, 6); round++) {
		if (round)
			ASSERT_EQ(0, neg(swapon(SWAP_DEVICE, 0)));
		MAKE_REGION();
		ASSERT_EQ(0, map_anon(self->addr, PAGES * PAGE, RW));
		ASSERT_EQ(0, fill(self->addr, PAGES));
		ASSERT_EQ(0, push_out(self->name, self->addr));
		/*
		 * The peer's window goes first, ours and the name a little
		 * later.
		 */
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(do_munmap(self->addr, self->len) || swap_end());
		nap_ms(round % 5);
		EXPECT_EQ(0, sys_mshare_unlink(self->name));
		/*
		 * The name still exists if the peer was attached when we left.
		 */
		if (!access(self->path, F_OK))
			EXPECT_EQ(0, sys_mshare_unlink(self->name));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, status);
		EXPECT_TRUE(WAIT_FOR(debug_regions() <= self->regions_before,
				     10000));
		EXPECT_TRUE(WAIT_FOR(!counted_pages(), 10000))
			TH_LOG("%ld pages are still counted", counted_pages());
	}
}

/* smaps uses the object's count of swapped pages, which no table shows. */
TEST_F(mshare, smaps_of_swapped_shmem)
{
	int swap = swap_begin();
	long rss, swapped;

	if (swap < 0)
		SKIP(return, "no swap: %s", strerror(-swap));
	MAKE_REGION();
	ASSERT_EQ(0, map_shmem(self->addr, PAGES * PAGE, RW));
	ASSERT_EQ(0, fill(self->addr, PAGES));
	EXPECT_EQ(0, smaps_kb(getpid(), self->addr, "Swap"));
	ASSERT_EQ(0, push_out(self->name, self->addr));
	/* Some pages may be in memory and in swap for a while. */
	rss = smaps_kb(getpid(), self->addr, "Rss");
	swapped = smaps_kb(getpid(), self->addr, "Swap");
	EXPECT_GE(PAGES, rss);
	EXPECT_LE(PAGES * 2, swapped);
	EXPECT_GE(PAGES * 4, swapped);
	EXPECT_EQ(0, pf_check((long)self->addr, PAGES, 0, 0, 0, 0));
	EXPECT_LE(PAGES * 3, smaps_kb(getpid(), self->addr, "Rss"));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	if (swap)
		EXPECT_EQ(0, swap_end());
}

/* Swapped pages are freed with the region. */
TEST_F(mshare, swap_freed_with_region)
{
	int swap = swap_begin();
	long used;

	if (swap < 0)
		SKIP(return, "no swap: %s", strerror(-swap));
	used = swapped_kb();
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGES * PAGE, RW));
	ASSERT_EQ(0, fill(self->addr, PAGES));
	ASSERT_EQ(0, push_out(self->name, self->addr));
	EXPECT_LT(SLACK_KB, swapped_kb() - used);
	ASSERT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(WAIT_FOR(swapped_kb() - used < SLACK_KB, 10000))
		TH_LOG("%ld kB still on swap", swapped_kb() - used);
	if (swap)
		EXPECT_EQ(0, swap_end());
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
