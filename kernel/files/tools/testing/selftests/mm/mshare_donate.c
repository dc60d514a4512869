// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: mappings that a region's creator has in the range become the
 * region's, together with their pages and page tables.
 */
#include "mshare_failnth.h"
#include "mshare_gup.h"

#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#define PAGES 512L

#ifndef __NR_mseal
#define __NR_mseal 462
#endif
#ifndef __NR_memfd_secret
#define __NR_memfd_secret 447
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

static void fill(char *at, long pages, long salt)
{
	long i;

	for (i = 0; i < pages; i++)
		__atomic_store_n((long *)(at + i * PAGE), salt + i,
				 __ATOMIC_RELAXED);
}

/* The first page that differs from what fill() left, counted from 1; or 0. */
PEER_FN(pf_check)
{
	long i;

	PEER_UNUSED();
	for (i = 0; i < b; i++)
		if (load((char *)a + i * PAGE) != c + i)
			return i + 1;
	return 0;
}

static long check(char *at, long pages, long salt)
{
	return pf_check((long)at, pages, salt, 0, 0, 0);
}

static long faults(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_minflt + ru.ru_majflt;
}

PEER_FN(pf_check_faults)
{
	long before = faults();

	PEER_UNUSED();
	if (check((char *)a, b, c))
		return -EIO;
	return faults() - before;
}

#define DONATE(oflag)							\
	sys_mshare(self->name, self->addr, self->len,			\
		   O_CREAT | O_EXCL | (oflag), 0600)

TEST_F(mshare, donate_anon_shmem_file_private)
{
	char *anon = self->addr, *shm = anon + 8 * MEG, *file = anon + 16 * MEG;
	char *priv = anon + 24 * MEG;
	int fd = temp_file(PAGES * PAGE);
	struct peer p;
	long val;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, map_anon(anon, PAGES * PAGE, RW));
	ASSERT_EQ(0, map_shmem(shm, PAGES * PAGE, RW));
	ASSERT_EQ(0, map_fd(file, PAGES * PAGE, RW, MAP_SHARED | MAP_FIXED, fd,
			    0));
	ASSERT_EQ(0, map_fd(priv, PAGES * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd,
			    0));
	fill(anon, PAGES, 1000);
	fill(shm, PAGES, 2000);
	fill(file, PAGES, 3000);
	fill(priv, PAGES / 2, 4000);
	ASSERT_EQ(3000 + PAGES - 1, load(priv + (PAGES - 1) * PAGE));

	ASSERT_EQ(0, DONATE(O_RDWR));
	EXPECT_EQ(0, debug_check());
	/* Fault-around may have mapped more of the private file's pages. */
	EXPECT_LE((3 * PAGES + PAGES / 2 + 1) * 4,
		  region_figure(self->name, "mshare-resident-kb"));
	EXPECT_GE(4 * PAGES * 4,
		  region_figure(self->name, "mshare-resident-kb"));
	EXPECT_EQ(0, check(anon, PAGES, 1000));
	ATTACH_PEER(&p, O_RDWR);
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)anon, PAGES, 1000));
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)shm, PAGES, 2000));
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)file, PAGES, 3000));
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)priv, PAGES / 2, 4000));
	EXPECT_EQ(3000 + PAGES - 1,
		  peer_see(&p, priv + (PAGES - 1) * PAGE));

	/* Each sharer sees the other's writes, and so does a shared file. */
	EXPECT_EQ(0, peer_store(&p, anon, 11));
	EXPECT_EQ(0, peer_store(&p, file, 13));
	EXPECT_EQ(0, peer_store(&p, priv, 14));
	EXPECT_EQ(11, load(anon));
	EXPECT_EQ(14, load(priv));
	EXPECT_EQ((ssize_t)sizeof(val), pread(fd, &val, sizeof(val), 0));
	EXPECT_EQ(13, val);
	/* They are mappings of the region like any other. */
	EXPECT_EQ(0, peer_call(&p, pf_mprotect, (long)shm, PAGES * PAGE,
			       PROT_READ));
	EXPECT_EQ(SIGSEGV, probe_store(shm, 1));
	EXPECT_EQ(0, do_munmap(anon, PAGES * PAGE));
	EXPECT_EQ(SIGBUS, peer_load(&p, anon));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
	close(fd);
}

/* The tables have moved: resident pages cause no faults. */
TEST_F(mshare, donated_pages_cost_no_fault)
{
	struct peer p;
	long before;

	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, map_anon(self->addr, 8 * PAGES * PAGE, RW));
	if (have_thp())
		ASSERT_EQ(0, do_madvise(self->addr, 8 * PAGES * PAGE,
					MADV_NOHUGEPAGE));
	fill(self->addr, 8 * PAGES, 5);
	ASSERT_EQ(0, DONATE(O_RDWR));
	before = faults();
	EXPECT_EQ(0, check(self->addr, 8 * PAGES, 5));
	EXPECT_GT(8, faults() - before);
	ATTACH_PEER(&p, O_RDONLY);
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)self->addr, 1, 5));
	before = peer_call(&p, pf_check_faults, (long)self->addr, 8 * PAGES, 5);
	EXPECT_LE(0, before);
	EXPECT_GT(8, before);
	EXPECT_EQ(0, peer_stop(&p));
}

/* Counters: the region has gained what the donor has lost. */
TEST_F(mshare, donor_counts_no_longer)
{
	long kb = PAGES * 4, anon, lck, size = self->len / 1024, vm, hwm;

	ASSERT_EQ(0, map_anon(self->addr, PAGES * PAGE, RW));
	ASSERT_EQ(0, mlock(self->addr, PAGES * PAGE));
	fill(self->addr, PAGES, 1);
	anon = self_status("RssAnon");
	lck = self_status("VmLck");
	vm = self_status("VmSize");
	hwm = self_status("VmRSS");
	ASSERT_LE(kb, lck);
	ASSERT_EQ(0, DONATE(O_RDWR));
	EXPECT_EQ(lck - kb, self_status("VmLck"));
	EXPECT_EQ(vm - kb + size, self_status("VmSize"));
	EXPECT_GE(anon - kb + 1024, self_status("RssAnon"));
	/* Allow for what counters keep for each CPU. */
	EXPECT_LE(hwm - 512, self_status("VmHWM"));
	EXPECT_LE(kb, region_figure(self->name, "mshare-resident-kb"));
	EXPECT_LT(0, region_figure(self->name, "mshare-pgtables-kb"));
	EXPECT_EQ(0, munlock(self->addr, PAGES * PAGE));
}

/* VMAs that share a PTE table, and tables that no VMA covers completely. */
TEST_F(mshare, donate_small_neighbours)
{
	struct peer p;
	long i;

	ASSERT_EQ(0, peer_start(&p));
	for (i = 0; i < 64; i++) {
		char *at = self->addr + 2 * MEG - 20 * PAGE + i * 5 * PAGE;

		ASSERT_EQ(0, i % 2 ? map_anon(at, 3 * PAGE, RW) :
				     map_shmem(at, 3 * PAGE, RW));
		fill(at, 3, 100 * i);
	}
	/*
	 * One VMA that covers a table and a part of the next, with a hole in
	 * it.
	 */
	ASSERT_EQ(0, map_anon(self->addr + 16 * MEG, 2 * MEG + 2 * PAGE, RW));
	fill(self->addr + 16 * MEG, PAGES + 2, 7);
	ASSERT_EQ(0, do_munmap(self->addr + 16 * MEG + 8 * PAGE, PAGE));
	ASSERT_EQ(0, DONATE(O_RDWR));
	EXPECT_EQ(0, debug_check());
	ATTACH_PEER(&p, O_RDWR);
	for (i = 0; i < 64; i++)
		EXPECT_EQ(0, peer_call(&p, pf_check, (long)self->addr +
				       2 * MEG - 20 * PAGE + i * 5 * PAGE, 3,
				       100 * i));
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)self->addr + 16 * MEG, 8,
			       7));
	EXPECT_EQ(SIGBUS, peer_load(&p, self->addr + 16 * MEG + 8 * PAGE));
	EXPECT_EQ(0, do_munmap(self->addr, 64 * MEG));
	EXPECT_EQ(SIGBUS, peer_load(&p, self->addr + 2 * MEG));
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, donate_several_granules)
{
	char *last = self->addr + 2 * self->granule - MEG;
	char *border = self->addr + self->granule - MEG;
	struct peer p;

	self->len = 2 * self->granule;
	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, map_anon(border, 2 * MEG, RW));
	ASSERT_EQ(0, map_shmem(last, MEG, RW));
	fill(border, PAGES, 1);
	fill(last, PAGES / 2, 2);
	ASSERT_EQ(0, DONATE(O_RDWR));
	ATTACH_PEER(&p, O_RDWR);
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)border, PAGES, 1));
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)last, PAGES / 2, 2));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, donate_with_swap_entries)
{
	int swap = swap_begin();
	struct peer p;
	long i;

	if (swap < 0)
		SKIP(return, "no swap: %s", strerror(-swap));
	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, map_anon(self->addr, PAGES * PAGE, RW));
	fill(self->addr, PAGES, 31);
	for (i = 0; i < 20; i++)
		ASSERT_EQ(0, do_madvise(self->addr, PAGES * PAGE,
					MADV_PAGEOUT));
	ASSERT_LT(PAGES, self_status("VmSwap"));
	ASSERT_EQ(0, DONATE(O_RDWR));
	EXPECT_GT(PAGES, self_status("VmSwap"));
	ATTACH_PEER(&p, O_RDWR);
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)self->addr, PAGES / 2, 31));
	/* The donor has exited: swapoff must find the host. */
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	if (swap)
		EXPECT_EQ(0, swap_end());
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)self->addr, PAGES, 31));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* So few that their count, which is kept for each CPU, may be zero. */
TEST_F(mshare, donate_few_swap_entries)
{
	const long few = 4;
	int swap = swap_begin();
	struct peer p;
	long i;

	if (swap < 0)
		SKIP(return, "no swap: %s", strerror(-swap));
	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, map_anon(self->addr, few * PAGE, RW));
	fill(self->addr, few, 41);
	for (i = 0; i < 20; i++)
		ASSERT_EQ(0, do_madvise(self->addr, few * PAGE, MADV_PAGEOUT));
	ASSERT_EQ(0, DONATE(O_RDWR));
	ATTACH_PEER(&p, O_RDWR);
	/* swapoff() returns when nothing is left there. */
	if (swap)
		EXPECT_EQ(0, swap_end());
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)self->addr, few, 41));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* Reverse mapping finds them in the region after the donor's VMAs are gone. */
TEST_F(mshare, donated_pages_swapped_without_donor)
{
	int swap = swap_begin();
	struct peer donor;
	long i;

	if (swap < 0)
		SKIP(return, "no swap: %s", strerror(-swap));
	ASSERT_EQ(0, peer_start(&donor));
	ASSERT_EQ(0, peer_call(&donor, pf_map_anon, (long)self->addr,
			       PAGES * PAGE, RW));
	if (have_thp())
		ASSERT_EQ(0, peer_call(&donor, pf_madvise, (long)self->addr,
				       PAGES * PAGE, MADV_NOHUGEPAGE));
	for (i = 0; i < PAGES; i++)
		ASSERT_EQ(0, peer_store(&donor, self->addr + i * PAGE, i + 1));
	ASSERT_EQ(0, peer_call(&donor, pf_mshare, (long)self->name,
			       (long)self->addr, (long)self->len,
			       O_CREAT | O_RDWR, 0600));
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len, O_RDWR, 0));
	ASSERT_EQ(0, peer_stop(&donor));

	ASSERT_TRUE(resident_is(self->name, PAGES * 4));
	for (i = 0; i < 20; i++)
		ASSERT_EQ(0, do_madvise(self->addr, PAGES * PAGE,
					MADV_PAGEOUT));
	EXPECT_GT(PAGES * 4 / 2, region_figure(self->name,
					       "mshare-resident-kb"));
	EXPECT_EQ(0, check(self->addr, PAGES, 1));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	if (swap)
		EXPECT_EQ(0, swap_end());
}

static bool thp_on(void)
{
	char buf[128] = "";

	slurp("/sys/kernel/mm/transparent_hugepage/enabled", buf, sizeof(buf));
	return buf[0] && !strstr(buf, "[never]");
}

/*
 * Each mm has a reference to the huge zero page, which the donor drops at exit.
 */
TEST_F(mshare, donate_thp_and_zero_page)
{
	char *huge = self->addr, *zero = huge + 16 * MEG;
	char *own = self->addr + 2 * self->granule;
	struct peer p, donor;
	long zeroes, i;

	if (!thp_on())
		SKIP(return, "no transparent huge pages");
	ASSERT_EQ(0, peer_start(&donor));
	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, peer_call(&donor, pf_map_anon, (long)huge, 8 * MEG, RW));
	ASSERT_EQ(0, peer_call(&donor, pf_map_anon, (long)zero, 8 * MEG, RW));
	ASSERT_EQ(0, peer_call(&donor, pf_madvise, (long)zero, 8 * MEG,
			       MADV_HUGEPAGE));
	ASSERT_EQ(0, peer_call(&donor, pf_madvise, (long)huge, 8 * MEG,
			       MADV_HUGEPAGE));
	ASSERT_EQ(0, peer_store(&donor, huge, 5));
	ASSERT_EQ(0, peer_store(&donor, huge + 4 * MEG, 6));
	EXPECT_EQ(0, peer_see(&donor, zero + 100 * PAGE));
	ASSERT_EQ(0, peer_call(&donor, pf_mshare, (long)self->name,
			       (long)self->addr, (long)self->len,
			       O_CREAT | O_RDWR, 0600));
	ATTACH_PEER(&p, O_RDWR);
	zeroes = vmstat_count("thp_zero_page_alloc");
	EXPECT_EQ(0, peer_stop(&donor));
	/* Freed here, if there was no other reference. */
	spew("/proc/sys/vm/drop_caches", "3");
	ASSERT_EQ(0, map_anon(own, 2 * MEG, RW));
	ASSERT_EQ(0, do_madvise(own, 2 * MEG, MADV_HUGEPAGE));
	ASSERT_EQ(0, load(own));
	EXPECT_EQ(zeroes, vmstat_count("thp_zero_page_alloc"));
	EXPECT_EQ(5, peer_see(&p, huge));
	EXPECT_EQ(6, peer_see(&p, huge + 4 * MEG));
	for (i = 0; i < 512; i++)
		ASSERT_EQ(0, peer_see(&p, zero + i * PAGE));
	/* Split a donated huge page. */
	EXPECT_EQ(0, peer_call(&p, pf_munmap, (long)huge + PAGE, PAGE));
	EXPECT_EQ(5, peer_see(&p, huge));
	EXPECT_EQ(0, peer_store(&p, zero + PAGE, 9));
	EXPECT_EQ(9, peer_see(&p, zero + PAGE));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

struct zero_reader {
	char *at;
	long huge;		/* how many huge pages */
	bool go;
	long next;
};

/* Reads make huge zero pages where something had been written before. */
static void *read_zeroes(void *arg)
{
	struct zero_reader *r = arg;
	long i;

	while (!__atomic_load_n(&r->go, __ATOMIC_ACQUIRE))
		;
	for (i = 1; i < r->huge; i++) {
		(void)load(r->at + i * 2 * MEG);
		__atomic_store_n(&r->next, i, __ATOMIC_RELEASE);
	}
	return NULL;
}

/*
 * A process that has never used the huge zero page donates memory while another
 * of its threads reads it. Many mappings give the thread time.
 */
PEER_FN(pf_donate_while_read)
{
	struct zero_reader r = { .at = (char *)a, .huge = 64 };
	char *small = r.at + 256 * MEG;
	pthread_t thread;
	long i, ret;

	PEER_UNUSED();
	ret = map_anon(r.at, r.huge * 2 * MEG, RW) ?:
	      do_madvise(r.at, r.huge * 2 * MEG, MADV_HUGEPAGE) ?:
	      -probe_store(r.at, 1);
	for (i = 0; i < 64 && !ret; i++)
		ret = map_anon(small + 2 * i * PAGE, PAGE, RW);
	if (ret || pthread_create(&thread, NULL, read_zeroes, &r))
		return ret ?: -EAGAIN;
	__atomic_store_n(&r.go, true, __ATOMIC_RELEASE);
	while (__atomic_load_n(&r.next, __ATOMIC_ACQUIRE) < d)
		;
	ret = sys_mshare((const char *)b, (void *)a, c,
			 O_CREAT | O_EXCL | O_RDWR, 0600);
	pthread_join(thread, NULL);
	return ret;
}

/* The first huge zero page may appear just before the range is donated. */
TEST_F(mshare, zero_page_comes_while_donated)
{
	char *own = self->addr + 2 * self->granule;
	long try, tries = scaled(30, 2), i;
	struct peer p;

	if (!thp_on())
		SKIP(return, "no transparent huge pages");
	for (try = 0; try < tries; try++) {
		ASSERT_EQ(0, peer_start(&p));
		ASSERT_EQ(0, peer_call(&p, pf_donate_while_read,
				       (long)self->addr, (long)self->name,
				       (long)self->len, try % 2));
		/* The donor exits and drops its reference to the zero page. */
		ASSERT_EQ(0, peer_stop(&p));
		spew("/proc/sys/vm/drop_caches", "2");
		ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,
					O_RDWR, 0));
		/* The next owner of this memory writes to it. */
		ASSERT_EQ(0, map_anon(own, 32 * MEG, RW));
		for (i = 0; i < 32 * MEG; i += PAGE)
			*(long *)(own + i) = ~0L;
		for (i = 1; i < 64; i++)
			ASSERT_EQ(0, load(self->addr + i * 2 * MEG));
		ASSERT_EQ(0, munmap(own, 32 * MEG));
		ASSERT_EQ(0, sys_mshare_unlink(self->name));
	}
	EXPECT_EQ(0, debug_check());
}

/* Processes that the donor forked earlier keep what they have. */
TEST_F(mshare, donate_after_fork)
{
	struct peer before, after;

	ASSERT_EQ(0, map_anon(self->addr, PAGES * PAGE, RW));
	fill(self->addr, PAGES, 1);
	ASSERT_EQ(0, peer_start(&before));
	/*
	 * Some pages belong to the donor alone by now, the others are still
	 * common.
	 */
	fill(self->addr, PAGES / 2, 1001);
	ASSERT_EQ(0, DONATE(O_RDWR));
	ASSERT_EQ(0, peer_start(&after));
	EXPECT_EQ(0, peer_call(&before, pf_check, (long)self->addr, PAGES, 1));
	EXPECT_EQ(0, peer_call(&after, pf_check, (long)self->addr, PAGES / 2,
			       1001));
	EXPECT_EQ(0, peer_store(&after, self->addr + (PAGES - 1) * PAGE, 77));
	EXPECT_EQ(77, load(self->addr + (PAGES - 1) * PAGE));
	EXPECT_EQ(0, peer_store(&before, self->addr + (PAGES - 2) * PAGE, 88));
	EXPECT_EQ(1 + PAGES - 2, load(self->addr + (PAGES - 2) * PAGE));
	EXPECT_EQ(1 + PAGES - 1,
		  peer_see(&before, self->addr + (PAGES - 1) * PAGE));
	/* Reverse mapping finds both. */
	EXPECT_EQ(0, do_madvise(self->addr, PAGES * PAGE, MADV_PAGEOUT));
	spew("/proc/sys/vm/compact_memory", "1");
	EXPECT_EQ(0, check(self->addr, PAGES / 2, 1001));
	EXPECT_EQ(0, peer_call(&before, pf_check, (long)self->addr, PAGES / 2,
			       1));
	EXPECT_EQ(0, peer_stop(&before));
	EXPECT_EQ(0, peer_stop(&after));
	EXPECT_EQ(0, debug_check());
}

struct storm {
	char *at;
	long pages;
	bool stop;
	long rounds;
	long bad;
};

/* Each page has one writer, and the writer finds what it has written. */
static void *storm_main(void *arg)
{
	struct storm *s = arg;
	long i, round;

	for (round = 1; !__atomic_load_n(&s->stop, __ATOMIC_RELAXED); round++) {
		for (i = 0; i < s->pages; i++) {
			long *at = (long *)(s->at + i * PAGE);

			if (round > 1 && __atomic_load_n(at, __ATOMIC_RELAXED) !=
			    round - 1)
				s->bad++;
			__atomic_store_n(at, round, __ATOMIC_RELAXED);
		}
		__atomic_store_n(&s->rounds, round, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void *pageout_main(void *arg)
{
	struct storm *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		/* Refused with EINVAL, or done: both are right. */
		madvise(s->at, s->pages * PAGE, MADV_PAGEOUT);
		spew("/proc/sys/vm/compact_memory", "1");
		__atomic_fetch_add(&s->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Wait until a thread has done @n more rounds. */
static bool storm_goes_on(struct storm *s, long n)
{
	n += __atomic_load_n(&s->rounds, __ATOMIC_RELAXED);
	return WAIT_FOR(__atomic_load_n(&s->rounds, __ATOMIC_RELAXED) >= n,
			60000);
}

TEST_F(mshare, donate_under_faulting_threads)
{
	long try, tries = scaled(20, 8);
	pthread_t thread[2];
	struct storm s[2];

	for (try = 0; try < tries; try++) {
		memset(s, 0, sizeof(s));
		s[0].at = self->addr;
		s[1].at = self->addr + PAGES / 2 * PAGE;
		s[0].pages = PAGES / 2;
		s[1].pages = PAGES / 2;
		ASSERT_EQ(0, map_anon(self->addr, PAGES * PAGE, RW));
		ASSERT_EQ(0, pthread_create(&thread[0], NULL, storm_main,
					    &s[0]));
		ASSERT_EQ(0, pthread_create(&thread[1], NULL, storm_main,
					    &s[1]));
		if (try % 2)
			EXPECT_TRUE(storm_goes_on(&s[0], 1));
		ASSERT_EQ(0, DONATE(O_RDWR));
		EXPECT_TRUE(storm_goes_on(&s[0], 2));
		EXPECT_TRUE(storm_goes_on(&s[1], 2));
		s[0].stop = true;
		s[1].stop = true;
		pthread_join(thread[0], NULL);
		pthread_join(thread[1], NULL);
		EXPECT_EQ(0, s[0].bad + s[1].bad);
		EXPECT_EQ(0, debug_check());
		ASSERT_EQ(0, sys_mshare_unlink(self->name));
		EXPECT_EQ(SIGSEGV, probe_byte(self->addr));
	}
}

/* If the counters are wrong, the kernel reports "Bad rss-counter". */
TEST_F(mshare, donate_under_pageout_loop)
{
	long try, tries = scaled(10, 3);
	int swap = swap_begin();
	pthread_t thread[2];
	struct storm s[2];

	for (try = 0; try < tries; try++) {
		memset(s, 0, sizeof(s));
		s[0].at = self->addr;
		s[1].at = self->addr;
		s[0].pages = PAGES;
		s[1].pages = PAGES;
		ASSERT_EQ(0, try % 2 ? map_shmem(self->addr, PAGES * PAGE, RW) :
				       map_anon(self->addr, PAGES * PAGE, RW));
		ASSERT_EQ(0, pthread_create(&thread[0], NULL, storm_main,
					    &s[0]));
		ASSERT_EQ(0, pthread_create(&thread[1], NULL, pageout_main,
					    &s[1]));
		EXPECT_TRUE(storm_goes_on(&s[0], 1));
		EXPECT_TRUE(storm_goes_on(&s[1], 1));
		ASSERT_EQ(0, DONATE(O_RDWR));
		EXPECT_TRUE(storm_goes_on(&s[0], 1));
		s[0].stop = true;
		s[1].stop = true;
		pthread_join(thread[0], NULL);
		pthread_join(thread[1], NULL);
		EXPECT_EQ(0, s[0].bad);
		EXPECT_EQ(0, debug_check());
		ASSERT_EQ(0, sys_mshare_unlink(self->name));
	}
	if (swap > 0)
		EXPECT_EQ(0, swap_end());
}

static long register_uffd(int *fd, void *at, size_t len)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (unsigned long)at, .len = len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	*fd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (*fd < 0)
		return -errno;
	return neg(ioctl(*fd, UFFDIO_API, &api) ?:
		   ioctl(*fd, UFFDIO_REGISTER, &reg));
}

/* One unsuitable mapping among others: the call is refused, nothing changes. */
#define REFUSED(err)							\
do {									\
	EXPECT_EQ(err, DONATE(O_RDWR));					\
	EXPECT_EQ(-ENOENT, sys_mshare(self->name, self->addr, self->len,	\
				      O_RDWR, 0));			\
	EXPECT_EQ(0, check(self->addr, 16, 3));				\
	EXPECT_EQ(lines, mappings(self->addr));				\
} while (0)

static long mappings(char *addr)
{
	long n = 0;
	unsigned int i;

	for (i = 0; i < 4; i++)
		n = n * 2 + !!self_maps_line(addr + i * MEG);
	return n;
}

TEST_F(mshare, donate_refused_kinds)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
	};
	char *bad = self->addr + MEG;
	struct loop_dev loop;
	int fd = -1, key;
	long lines;

	ASSERT_EQ(0, map_anon(self->addr, 16 * PAGE, RW));
	fill(self->addr, 16, 3);
	ASSERT_EQ(0, map_anon(bad, PAGE, RW));
	lines = mappings(self->addr);

	ASSERT_EQ(0, do_madvise(bad, PAGE, MADV_DONTFORK));
	REFUSED(-EOPNOTSUPP);
	ASSERT_EQ(0, do_madvise(bad, PAGE, MADV_DOFORK));
	ASSERT_EQ(0, do_madvise(bad, PAGE, MADV_WIPEONFORK));
	REFUSED(-EOPNOTSUPP);
	ASSERT_EQ(0, do_madvise(bad, PAGE, MADV_KEEPONFORK));
	if (!do_madvise(bad, PAGE, MADV_MERGEABLE)) {
		REFUSED(-EOPNOTSUPP);
		ASSERT_EQ(0, do_madvise(bad, PAGE, MADV_UNMERGEABLE));
	}
	if (!register_uffd(&fd, bad, PAGE))
		REFUSED(-EOPNOTSUPP);
	else
		TH_LOG("no userfaultfd here");
	close(fd);
	ASSERT_EQ(0, map_anon(bad, PAGE, RW));

	key = syscall(__NR_pkey_alloc, 0, 0);
	if (key >= 0 && !syscall(__NR_pkey_mprotect, bad, PAGE, RW, key)) {
		REFUSED(-EOPNOTSUPP);
		ASSERT_EQ(0, neg(syscall(__NR_pkey_mprotect, bad, PAGE, RW,
					 0)));
		syscall(__NR_pkey_free, key);
	} else {
		TH_LOG("no protection keys here");
	}
	/* The cache of a block device. */
	if (!loop_open(&loop, 4 * PAGE)) {
		fd = open(loop.path, O_RDWR | O_CLOEXEC);
		ASSERT_EQ(0, map_fd(bad, PAGE, RW, MAP_SHARED, fd, 0));
		REFUSED(-EOPNOTSUPP);
		close(fd);
		ASSERT_EQ(0, map_anon(bad, PAGE, RW));
		loop_close(&loop);
	} else {
		TH_LOG("no loop devices here");
	}
	/* A stack, droppable memory, secret memory and device memory. */
	ASSERT_EQ(0, map_fd(bad, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS |
			    MAP_GROWSDOWN, -1, 0));
	REFUSED(-EOPNOTSUPP);
	if (!map_fd(bad, PAGE, RW, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0))
		REFUSED(-EOPNOTSUPP);
	else
		TH_LOG("no droppable memory here");
	fd = syscall(__NR_memfd_secret, 0);
	if (fd >= 0 && !ftruncate(fd, PAGE) &&
	    !map_fd(bad, PAGE, RW, MAP_SHARED, fd, 0))
		REFUSED(-EOPNOTSUPP);
	else
		TH_LOG("no secret memory here");
	close(fd);
	fd = open("/dev/mem", O_RDONLY);
	if (fd >= 0 && !map_fd(bad, PAGE, PROT_READ, MAP_SHARED, fd, 0xf0000))
		REFUSED(-EOPNOTSUPP);
	else
		TH_LOG("no device memory here");
	close(fd);
	/* Memory of a driver. */
	fd = syscall(__NR_perf_event_open, &attr, 0, -1, -1, 0);
	if (fd >= 0 && !map_fd(bad, 2 * PAGE, RW, MAP_SHARED, fd, 0))
		REFUSED(-EOPNOTSUPP);
	else
		TH_LOG("no perf events here");
	close(fd);
	ASSERT_EQ(0, do_munmap(bad, 2 * PAGE));
	ASSERT_EQ(0, map_anon(bad, PAGE, RW));
	if (!syscall(__NR_mseal, bad, PAGE, 0))
		REFUSED(-EPERM);
	else
		TH_LOG("no mseal() here");
}

/* Reserved huge pages have tables of another kind. */
TEST_F(mshare, donate_hugetlb_refused)
{
	char *huge = self->addr + 2 * MEG, nr[32];
	long lines, ret;

	if (slurp("/proc/sys/vm/nr_hugepages", nr, sizeof(nr)) <= 0)
		SKIP(return, "no hugetlb");
	ASSERT_EQ(0, spew("/proc/sys/vm/nr_hugepages", "2"));
	ASSERT_EQ(0, map_anon(self->addr, 16 * PAGE, RW));
	fill(self->addr, 16, 3);
	ret = map_fd(huge, 2 * MEG, RW, MAP_PRIVATE | MAP_ANONYMOUS |
		     MAP_HUGETLB, -1, 0);
	if (!ret) {
		ASSERT_EQ(0, probe_store(huge, 7));
		lines = mappings(self->addr);
		REFUSED(-EOPNOTSUPP);
		EXPECT_EQ(7, load(huge));
		ASSERT_EQ(0, do_munmap(huge, 2 * MEG));
	}
	EXPECT_EQ(0, spew("/proc/sys/vm/nr_hugepages", nr));
	if (ret)
		SKIP(return, "no huge page available: %s", strerror(-ret));
	ASSERT_EQ(0, DONATE(O_RDWR));
}

/* The kernel looks for the heap in the process. */
TEST_F(mshare, donate_heap_refused)
{
	unsigned long at = (unsigned long)self->addr + MEG;
	long lines, ret;

	ASSERT_EQ(0, map_anon(self->addr, 16 * PAGE, RW));
	ASSERT_EQ(0, map_anon(self->addr + MEG, PAGE, RW));
	fill(self->addr, 16, 3);
	lines = mappings(self->addr);
	/* From the real heap to here, so that the heap spans the range. */
	ret = neg(prctl(PR_SET_MM, PR_SET_MM_BRK, at + PAGE, 0, 0));
	if (ret)
		SKIP(return, "the heap cannot be moved: %s", strerror(-ret));
	ASSERT_EQ(0, neg(prctl(PR_SET_MM, PR_SET_MM_START_BRK, at, 0, 0)));
	REFUSED(-EOPNOTSUPP);
	/* A region beside the heap is allowed. */
	ASSERT_EQ(0, do_munmap(self->addr + MEG, PAGE));
	ASSERT_EQ(0, DONATE(O_RDWR));
	EXPECT_EQ(0, check(self->addr, 16, 3));
}

/* Code that the process executes may contain a breakpoint. */
TEST_F(mshare, donate_probed_text_refused)
{
	/* mov $42, %eax; ret */
	static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 };
	char path[] = "/tmp/mshare-donate-XXXXXX", type[32];
	struct perf_event_attr attr = { .size = sizeof(attr) };
	char *text = self->addr + MEG;
	int (*fn)(void) = (void *)text;
	int fd, perf;
	long lines;

	if (slurp("/sys/bus/event_source/devices/uprobe/type", type,
		  sizeof(type)) <= 0)
		SKIP(return, "no uprobes");
	fd = mkostemp(path, O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fchmod(fd, 0700));
	ASSERT_EQ(0, ftruncate(fd, PAGE));
	ASSERT_EQ((ssize_t)sizeof(code), pwrite(fd, code, sizeof(code), 0));
	ASSERT_EQ(0, map_anon(self->addr, 16 * PAGE, RW));
	fill(self->addr, 16, 3);
	ASSERT_EQ(0, map_fd(text, PAGE, PROT_READ | PROT_EXEC,
			    MAP_PRIVATE, fd, 0));
	lines = mappings(self->addr);
	attr.type = atoi(type);
	attr.config1 = (unsigned long)path;
	perf = syscall(__NR_perf_event_open, &attr, 0, -1, -1, 0);
	ASSERT_LE(0, perf);
	EXPECT_EQ(42, fn());
	EXPECT_EQ(0xcc, *(unsigned char *)text);
	REFUSED(-EOPNOTSUPP);
	EXPECT_EQ(42, fn());
	close(perf);
	close(fd);
	unlink(path);
}

/* Anonymous memory that was made through a device. */
TEST_F(mshare, donate_dev_zero)
{
	int fd = open("/dev/zero", O_RDWR), i;
	struct peer p;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, peer_start(&p));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, map_fd(self->addr + i * MEG, 16 * PAGE, RW,
				    i ? MAP_SHARED : MAP_PRIVATE, fd, 0));
	close(fd);
	fill(self->addr, 16, 3);
	fill(self->addr + MEG, 16, 5);
	ASSERT_EQ(0, DONATE(O_RDWR));
	ATTACH_PEER(&p, O_RDWR);
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)self->addr, 16, 3));
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)self->addr + MEG, 16, 5));
	EXPECT_TRUE(resident_is(self->name, 32 * 4));
	EXPECT_EQ(0, do_munmap(self->addr, 8 * PAGE));
	EXPECT_EQ(SIGBUS, peer_load(&p, self->addr));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, donate_straddling_einval)
{
	long lines;

	ASSERT_EQ(0, map_anon(self->addr, 16 * PAGE, RW));
	fill(self->addr, 16, 3);
	lines = mappings(self->addr);
	ASSERT_EQ(0, map_anon(self->addr - PAGE, 2 * PAGE, RW));
	EXPECT_EQ(-EINVAL, DONATE(O_RDWR));
	EXPECT_EQ(0, check(self->addr + PAGE, 15, 4));
	ASSERT_EQ(0, do_munmap(self->addr - PAGE, PAGE));
	fill(self->addr, 16, 3);
	ASSERT_EQ(0, map_anon(self->addr + self->len - PAGE, 2 * PAGE, RW));
	REFUSED(-EINVAL);
	ASSERT_EQ(0, do_munmap(self->addr + self->len, PAGE));
	ASSERT_EQ(0, DONATE(O_RDWR));
	EXPECT_EQ(0, check(self->addr, 16, 3));
}

TEST_F(mshare, donate_read_only_for_everyone)
{
	struct peer p;

	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, map_anon(self->addr, PAGES * PAGE, RW));
	fill(self->addr, PAGES, 3);
	ASSERT_EQ(0, DONATE(O_RDONLY));
	EXPECT_EQ(SIGSEGV, probe_store(self->addr, 4));
	EXPECT_EQ(-EACCES, do_munmap(self->addr, PAGE));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_mshare, (long)self->name,
				     (long)self->addr, (long)self->len,
				     O_RDWR));
	ATTACH_PEER(&p, O_RDONLY);
	EXPECT_EQ(0, peer_call(&p, pf_check, (long)self->addr, PAGES, 3));
	EXPECT_EQ(SIGSEGV, peer_store(&p, self->addr, 4));
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, donate_fail_nth)
{
	int fd = failnth_open(), n, harmless = 0;
	long ret = -1, lines;

	if (fd < 0)
		SKIP(return, "no fault injection: %s", strerror(-fd));
	ASSERT_EQ(0, map_anon(self->addr, 16 * PAGE, RW));
	ASSERT_EQ(0, map_shmem(self->addr + MEG, 16 * PAGE, RW));
	ASSERT_EQ(0, map_anon(self->addr + 3 * MEG, 16 * PAGE, PROT_READ));
	fill(self->addr, 16, 3);
	fill(self->addr + MEG, 16, 5);
	lines = mappings(self->addr);
	for (n = 1; n < FAILNTH_MAX; n++) {
		failnth_arm(fd, n);
		ret = DONATE(O_RDWR);
		if (!failnth_hit(fd))
			break;
		if (!ret) {
			/* The donation did not need that allocation. */
			EXPECT_EQ(0, check(self->addr, 16, 3));
			harmless++;
			ASSERT_EQ(0, sys_mshare_unlink(self->name));
			ASSERT_EQ(0, map_anon(self->addr, 16 * PAGE, RW));
			ASSERT_EQ(0, map_shmem(self->addr + MEG, 16 * PAGE,
					       RW));
			ASSERT_EQ(0, map_anon(self->addr + 3 * MEG, 16 * PAGE,
					      PROT_READ));
			fill(self->addr, 16, 3);
			fill(self->addr + MEG, 16, 5);
			continue;
		}
		ASSERT_EQ(-ENOMEM, ret)
			TH_LOG("allocation %d", n);
		ASSERT_EQ(0, check(self->addr, 16, 3));
		ASSERT_EQ(0, check(self->addr + MEG, 16, 5));
		ASSERT_EQ(lines, mappings(self->addr));
		ASSERT_EQ(-ENOENT, sys_mshare(self->name, self->addr, self->len,
					      O_RDWR, 0));
	}
	EXPECT_EQ(0, ret);
	EXPECT_LT(10, n);
	TH_LOG("%d allocations failed, %d of them did not matter", n - 1,
	       harmless);
	EXPECT_EQ(0, check(self->addr, 16, 3));
	EXPECT_EQ(0, debug_check());
	close(fd);
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
