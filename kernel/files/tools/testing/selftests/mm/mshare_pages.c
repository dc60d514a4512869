// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: pages that go bad or move while sharers use them.
 */
#include "mshare_hazard.h"
#include "mshare_work.h"

#ifndef MADV_HWPOISON
#define MADV_HWPOISON 100
#endif
#ifndef BUS_MCEERR_AR
#define BUS_MCEERR_AR 4
#endif

#define CORRUPT "/sys/kernel/debug/hwpoison/corrupt-pfn"

/* Write bytes of the window to a pipe: the kernel reads the page itself. */
PEER_FN(pf_write_from)
{
	int fd[2];
	long ret;

	PEER_UNUSED();
	if (pipe(fd))
		return -errno;
	ret = neg(write(fd[1], (void *)a, b));
	close(fd[0]);
	close(fd[1]);
	return ret;
}

/* The signal that a child of the peer gets for a load; 0 if none. */
PEER_FN(pf_load_in_child)
{
	int status;
	pid_t pid;

	PEER_UNUSED();
	pid = fork();
	if (!pid) {
		signal(SIGBUS, SIG_DFL);
		READ_ONCE(*(char *)a);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* Does a peer get a signal for this bad page, with its address? */
static bool told_bad(struct peer *p, char *at)
{
	return peer_load(p, at) == SIGBUS && p->fault.code == BUS_MCEERR_AR &&
	       p->fault.addr == at;
}

/* A bad page is bad for all sharers, but the pages next to it are not. */
TEST_F(mshare, memory_failure)
{
	char *at = self->addr;
	struct peer p, ro;
	long ret, i;

	ASSERT_EQ(0, peer_start(&ro));
	MAKE_SHARED();
	ATTACH_PEER(&ro, O_RDONLY);
	ASSERT_EQ(0, map_anon(at, 16 * PAGE, RW));
	for (i = 0; i < 16; i++)
		ASSERT_EQ(0, probe_store(at + i * PAGE, i + 1));
	/* About to go bad: the content moves. */
	ret = do_madvise(at, PAGE, MADV_SOFT_OFFLINE);
	if (ret == -EINVAL || ret == -EPERM) {
		EXPECT_EQ(0, peer_stop(&p));
		EXPECT_EQ(0, peer_stop(&ro));
		SKIP(return, "no memory failure handling");
	}
	EXPECT_EQ(0, ret);
	EXPECT_EQ(1, peer_see(&p, at));
	EXPECT_EQ(1, peer_see(&ro, at));
	/* Bad: each access gets a signal or EFAULT. */
	ASSERT_EQ(0, do_madvise(at + PAGE, PAGE, MADV_HWPOISON));
	EXPECT_EQ(SIGBUS, probe_byte(at + PAGE));
	EXPECT_EQ(BUS_MCEERR_AR, last_fault.code);
	EXPECT_TRUE(told_bad(&p, at + PAGE));
	EXPECT_TRUE(told_bad(&ro, at + PAGE));
	EXPECT_EQ(SIGBUS, peer_store(&p, at + PAGE, 1));
	EXPECT_EQ(BUS_MCEERR_AR, p.fault.code);
	/* A reader may not write, whether the page is good or bad. */
	EXPECT_EQ(SIGSEGV, peer_store(&ro, at + PAGE, 1));
	EXPECT_EQ(-EFAULT, peer_call(&p, pf_write_from, (long)at + PAGE, 64));
	EXPECT_EQ(-EFAULT, peer_call(&ro, pf_write_from, (long)at + PAGE, 64));
	EXPECT_EQ(64, peer_call(&ro, pf_write_from, (long)at + 2 * PAGE, 64));
	EXPECT_EQ(SIGBUS, peer_call(&p, pf_load_in_child, (long)at + PAGE));
	/* Without an access there is no signal. */
	EXPECT_EQ(0, peer_call(&p, pf_load_in_child, (long)at + 2 * PAGE));
	EXPECT_EQ(3, region_figure(self->name, "mshare-sharers"));
	for (i = 2; i < 16; i++)
		EXPECT_EQ(i + 1, peer_see(&p, at + i * PAGE));
	/* The address can be used again, with another page. */
	ASSERT_EQ(0, map_anon(at + PAGE, PAGE, RW));
	EXPECT_EQ(0, peer_store(&p, at + PAGE, 77));
	EXPECT_EQ(77, load(at + PAGE));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, peer_stop(&ro));
}

/*
 * The frame of a file in memory fails, without an access. The region maps the
 * file, and an unrelated process does, too. A process that does not access the
 * page is not killed.
 */
TEST_F(mshare, memory_failure_by_frame)
{
	struct two_views v = { -1, NULL };
	struct peer p, ro;
	char *at = self->addr;
	long frame, i;

	if (access(CORRUPT, W_OK) || access(UNPOISON, W_OK))
		SKIP(return, "no " CORRUPT);
	ASSERT_EQ(0, peer_start(&ro));
	MAKE_SHARED();
	ATTACH_PEER(&ro, O_RDONLY);
	ASSERT_EQ(0, two_views(&v, at, 8 * PAGE));
	for (i = 0; i < 8; i++)
		ASSERT_EQ(0, probe_store(v.own + i * PAGE, i + 1));
	for (i = 0; i < 8; i++) {
		ASSERT_EQ(i + 1, peer_see(&p, at + i * PAGE));
		ASSERT_EQ(i + 1, peer_see(&ro, at + i * PAGE));
	}
	frame = frame_of(v.own + 3 * PAGE);
	ASSERT_LT(0, frame);
	ASSERT_EQ(0, spew_num(CORRUPT, frame));

	EXPECT_TRUE(told_bad(&p, at + 3 * PAGE));
	EXPECT_TRUE(told_bad(&ro, at + 3 * PAGE));
	EXPECT_EQ(SIGBUS, probe_byte(at + 3 * PAGE));
	EXPECT_EQ(BUS_MCEERR_AR, last_fault.code);
	EXPECT_EQ(SIGBUS, probe_byte(v.own + 3 * PAGE));
	for (i = 0; i < 8; i++) {
		if (i == 3)
			continue;
		EXPECT_EQ(i + 1, peer_see(&p, at + i * PAGE));
		EXPECT_EQ(i + 1, peer_see(&ro, at + i * PAGE));
	}
	/* A good page in its place. */
	ASSERT_EQ(0, neg(fallocate(v.fd, 3 /* PUNCH_HOLE, KEEP_SIZE */,
				   3 * PAGE, PAGE)));
	ASSERT_EQ(0, do_madvise(at + 3 * PAGE, PAGE, MADV_DONTNEED));
	EXPECT_EQ(0, peer_store(&p, at + 3 * PAGE, 33));
	EXPECT_EQ(33, peer_see(&ro, at + 3 * PAGE));
	EXPECT_EQ(0, spew_num(UNPOISON, frame));
	EXPECT_EQ(0, debug_check());
	close(v.fd);
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, peer_stop(&ro));
}

static bool thp_allowed(void)
{
	char buf[256];

	return slurp("/sys/kernel/mm/transparent_hugepage/enabled", buf,
		     sizeof(buf)) > 0 && !strstr(buf, "[never]");
}

/* Only the bad small page of a huge page is lost. */
TEST_F(mshare, memory_failure_in_huge_page)
{
	char *at = self->addr;
	struct peer p;
	long i, bad = 0;

	if (!thp_allowed())
		SKIP(return, "transparent huge pages are off");
	if (access(CORRUPT, W_OK))
		SKIP(return, "no " CORRUPT);
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(at, 2 * MEG, RW));
	ASSERT_EQ(0, do_madvise(at, 2 * MEG, MADV_HUGEPAGE));
	for (i = 0; i < 512; i++)
		ASSERT_EQ(0, probe_store(at + i * PAGE, i + 1));
	ASSERT_EQ(0, do_madvise(at + 100 * PAGE, PAGE, MADV_HWPOISON));
	EXPECT_TRUE(told_bad(&p, at + 100 * PAGE));
	for (i = 0; i < 512; i++)
		bad += i != 100 && peer_see(&p, at + i * PAGE) != i + 1;
	EXPECT_EQ(0, bad);
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/*
 * Compaction moves pages from low frames to free ones at high frames, but not
 * into blocks that are free as a whole. So this file has far more pages than
 * the region maps. The region gets the stretch with the lowest frames. Of the
 * others, one in HOLES stays, and the rest is free.
 */
#define FILE_PAGES	16384L
#define MAPPED_PAGES	(WORK_PAGES / 2)
#define HOLES		16

struct low_file {
	int fd;
	char *all;		/* outside of the region */
	char *own;		/* the stretch therein */
	long first;		/* page of the stretch */
};

/*
 * The frames of pages outside of windows, 0 where there is none. Return: 0 or a
 * negative errno.
 */
static long frames_of(const char *addr, long pages, __u64 *frame)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t len = pages * sizeof(*frame);
	long i, ret = 0;

	if (fd < 0)
		return -errno;
	if (pread(fd, frame, len, (unsigned long)addr / PAGE * 8) != len)
		ret = -EIO;
	close(fd);
	for (i = 0; i < pages; i++)
		frame[i] = frame[i] >> 63 ? frame[i] & ((1UL << 55) - 1) : 0;
	return ret;
}

static long lowest_stretch(const __u64 *frame)
{
	__u64 highest, best = ~0UL;
	long first = 0, i, k;

	for (i = 0; i < FILE_PAGES; i += MAPPED_PAGES) {
		for (highest = 0, k = 0; k < MAPPED_PAGES; k++)
			if (frame[i + k] > highest)
				highest = frame[i + k];
		if (highest < best) {
			best = highest;
			first = i;
		}
	}
	return first;
}

/* Return: 0 or a negative errno. */
static long low_file_make(struct low_file *f)
{
	static __u64 frame[FILE_PAGES];
	size_t len = FILE_PAGES * PAGE;
	long ret, i;

	f->fd = memfd_create("mshare", MFD_CLOEXEC);
	if (f->fd < 0 || ftruncate(f->fd, len))
		return -errno;
	f->all = mmap(NULL, len, RW, MAP_SHARED, f->fd, 0);
	if (f->all == MAP_FAILED)
		return -errno;
	ret = do_madvise(f->all, len, MADV_POPULATE_WRITE) ?:
	      frames_of(f->all, FILE_PAGES, frame);
	if (ret)
		return ret;
	f->first = lowest_stretch(frame);
	f->own = f->all + f->first * PAGE;
	for (i = 0; !ret && i < FILE_PAGES; i += HOLES)
		if (i < f->first || i >= f->first + MAPPED_PAGES)
			ret = neg(fallocate(f->fd, FALLOC_FL_PUNCH_HOLE |
					    FALLOC_FL_KEEP_SIZE, (i + 1) * PAGE,
					    (HOLES - 1) * PAGE));
	return ret;
}

static void low_file_drop(struct low_file *f)
{
	munmap(f->all, FILE_PAGES * PAGE);
	close(f->fd);
}

/* How many of the file's pages in the region have changed their frames. */
static long count_moved(const struct low_file *f, const __u64 *before)
{
	__u64 now[MAPPED_PAGES];
	long moved = 0, i;

	i = frames_of(f->own, MAPPED_PAGES, now);
	if (i)
		return i;
	/* A page that is being moved has no frame. */
	for (i = 0; i < MAPPED_PAGES; i++)
		moved += before[i] && now[i] && now[i] != before[i];
	return moved;
}

/* Both are enough to end a try: so many moves, and so many compactions. */
#define MOVES		(WORK_PAGES / 32)
#define COMPACTIONS	12

/*
 * Compact in a loop while a writer and a reader work. Return: how many of the
 * pages whose frames are known were moved, or a negative errno.  Wrong pages
 * found at the end are added to *bad.
 */
static long compact_under_work(const char *name, char *at, size_t window,
			       long *bad)
{
	long moved = 0, ret, i;
	__u64 before[MAPPED_PAGES];
	struct work *w = new_work();
	struct low_file f = { .fd = -1 };
	pid_t pid[2];

	if (!w)
		return -ENOMEM;
	/* The upper half is not backed by a file. */
	ret = low_file_make(&f) ?:
	      map_fd(at, MAPPED_PAGES * PAGE, RW, MAP_SHARED, f.fd,
		     f.first * PAGE) ?:
	      map_anon(at + MAPPED_PAGES * PAGE, MAPPED_PAGES * PAGE, RW) ?:
	      do_madvise(at, WORK_PAGES * PAGE, MADV_NOHUGEPAGE);
	if (ret)
		return ret;
	fill_work(at);
	for (i = 0; i < MAPPED_PAGES; i++)
		*bad += load(f.own + i * PAGE) != i + 1;
	ret = frames_of(f.own, MAPPED_PAGES, before) ?:
	      begin_work(w, pid, name, at, at, window);
	for (i = 0; !ret && i < COMPACTIONS && moved < MOVES; i++) {
		ret = spew("/proc/sys/vm/compact_memory", "1");
		moved = count_moved(&f, before);
		if (moved < 0)
			ret = moved;
	}
	if (ret)
		return ret;
	*bad += end_work(w, pid, at);
	for (i = 0; i < MAPPED_PAGES; i++)
		*bad += load(f.own + i * PAGE) != i + 1;
	low_file_drop(&f);
	munmap(w, PAGE);
	return do_munmap(at, WORK_PAGES * PAGE) ?: moved;
}

TEST_F_TIMEOUT(mshare, compaction_under_sharers, 400)
{
	long all = vmstat_count("pgmigrate_success"), moved = 0, bad = 0;
	int try;

	if (access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(return, "no compaction");
	if (meminfo_kb("MemAvailable") < 4 * FILE_PAGES * 4)
		SKIP(return, "too little memory");
	MAKE_REGION();
	/*
	 * What else has pages is not known, and neither is where: try until one
	 * of the region's has moved.
	 */
	for (try = 0; try < 8 && !moved; try++) {
		moved = compact_under_work(self->name, self->addr, self->len,
					   &bad);
		ASSERT_LE(0, moved);
		ASSERT_EQ(0, bad);
	}
	TH_LOG("%ld pages moved in %d tries, %ld of them certainly the region's",
	       vmstat_count("pgmigrate_success") - all, try, moved);
	/* Otherwise nothing was tested; a large machine need not compact. */
	if (meminfo_kb("MemTotal") < 4096 * 1024)
		EXPECT_LT(0, moved);
	EXPECT_EQ(0, debug_check());
}

/* Pages move, one after the other, while they are written and read. */
TEST_F(mshare, migration_under_sharers)
{
	struct two_views v = { -1, NULL };
	struct work *s = new_work();
	long i, rounds, moved = 0, step = scaled(4, 16);
	pid_t pid[2];

	ASSERT_NE(NULL, s);
	if (access(UNPOISON, W_OK))
		SKIP(return, "no " UNPOISON);
	MAKE_REGION();
	ASSERT_EQ(0, two_views(&v, self->addr, WORK_PAGES * PAGE));
	fill_work(self->addr);
	ASSERT_EQ(0, begin_work(s, pid, self->name, self->addr, self->addr,
				self->len));
	rounds = s->rounds[0];
	for (i = 0; i < WORK_PAGES; i += step) {
		long frame;

		ASSERT_EQ(i + 1, load(v.own + i * PAGE));
		frame = frame_of(v.own + i * PAGE);
		ASSERT_EQ(0, move_page_away(v.own + i * PAGE))
			TH_LOG("page %ld", i);
		ASSERT_EQ(i + 1, load(v.own + i * PAGE));
		moved += frame_of(v.own + i * PAGE) != frame;
	}
	rounds = s->rounds[0] - rounds;
	EXPECT_EQ(0, end_work(s, pid, self->addr));
	TH_LOG("%ld pages moved during %ld rounds of the writer", moved,
	       rounds);
	EXPECT_LE(WORK_PAGES / step, moved);
	EXPECT_EQ(0, debug_check());
	close(v.fd);
}

#define IDLE_BITMAP "/sys/kernel/mm/page_idle/bitmap"

/* Mark a frame as idle. Return: 0 or -errno. */
static long mark_idle(int bitmap, long frame)
{
	__u64 bits = 1ULL << frame % 64;

	return pwrite(bitmap, &bits, sizeof(bits), frame / 64 * 8) ==
	       sizeof(bits) ? 0 : -errno;
}

/* Is it still idle? */
static bool is_idle(int bitmap, long frame)
{
	__u64 bits = 0;

	return pread(bitmap, &bits, sizeof(bits), frame / 64 * 8) ==
	       sizeof(bits) && bits >> frame % 64 & 1;
}

/* If memory ends in the middle of a word of the bitmap, that word has no bytes. */
static bool has_word(int bitmap, long frame)
{
	__u64 bits;

	return pread(bitmap, &bits, sizeof(bits), frame / 64 * 8) ==
	       sizeof(bits);
}

/* Give the page of a memfd another frame. Something else gets the old one. */
static long leave_frame(char *addr)
{
	long err = do_madvise(addr, PAGE, MADV_REMOVE);

	if (err)
		return err;
	if (mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
		 -1, 0) == MAP_FAILED)
		return -errno;
	return probe_store(addr, 1);
}

#define KPF_LRU 5

/* Is the frame on one of the lists in which the bitmap finds pages? */
static bool is_listed(int flags, long frame)
{
	__u64 bits = 0;

	return pread(flags, &bits, sizeof(bits), frame * 8) == sizeof(bits) &&
	       bits >> KPF_LRU & 1;
}

/*
 * There is one accessed bit for all sharers, so a page that any of them uses is
 * not idle.
 */
TEST_F(mshare, idle_for_all_or_none)
{
	int bitmap = open(IDLE_BITMAP, O_RDWR | O_CLOEXEC);
	int flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	bool read_only = false;
	struct two_views v;
	struct peer p;

	if (bitmap < 0)
		SKIP(return, "no " IDLE_BITMAP);
	ASSERT_NE(-1, flags);
	MAKE_SHARED();
	ASSERT_EQ(0, two_views(&v, self->addr, PAGE));
	ASSERT_EQ(0, probe_store(v.own, 1));
	for (int i = 0; i < 20; i++) {
		bool unused = false, used = true, stayed = false;

		/*
		 * A page that a CPU has in a batch, or that compaction moves,
		 * is not found: it is neither marked nor looked at.
		 */
		for (int n = 0; n < 100 && (!unused || !stayed); n++) {
			long frame = frame_of(v.own);

			ASSERT_NE(0, frame);
			if (!has_word(bitmap, frame)) {
				ASSERT_EQ(0, leave_frame(v.own));
				continue;
			}
			if (!is_listed(flags, frame)) {
				/* Empties the batches. */
				spew("/proc/sys/vm/compact_memory", "1");
				usleep(10000);
				continue;
			}
			ASSERT_EQ(1, peer_see(&p, self->addr));
			ASSERT_EQ(0, mark_idle(bitmap, frame));
			/* Else the CPU would use its TLB and set no bit. */
			read_only = !read_only;
			ASSERT_EQ(0, do_mprotect(self->addr, PAGE,
						 read_only ? PROT_READ : RW));
			unused = is_idle(bitmap, frame);
			ASSERT_EQ(1, peer_see(&p, self->addr));
			used = !is_idle(bitmap, frame);
			stayed = is_listed(flags, frame) &&
				 frame_of(v.own) == frame;
		}
		EXPECT_TRUE(stayed);
		EXPECT_TRUE(unused);
		EXPECT_TRUE(used);
	}
	close(flags);
	close(bitmap);
	close(v.fd);
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
