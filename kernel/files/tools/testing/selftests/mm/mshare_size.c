// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: limits of what regions may take: size= and nr_regions= of msharefs,
 * and how a region counts for the OOM killer.
 */
#include "mshare_helpers.h"
#include <sys/statvfs.h>

/* How far the kernel's counters may be wrong, in pages. */
#define SLOP 1024L
/* Near the limit counts are exact, but for what several CPUs add at once. */
#define FEW 20L
#define LIMIT (32 * MEG)
#define LIMIT_PAGES ((long)(LIMIT / PAGE))

static long remount(const char *options)
{
	return neg(mount(NULL, MSHARE_DIR, NULL, MS_REMOUNT, options));
}

/* The default, and what the fixture of the other programs expects. */
static long no_limit(void)
{
	return remount("size=50%,nr_regions=65536");
}

/* Pages in use, and the limit in *total. */
static long used_pages(long *total)
{
	struct statvfs st;

	if (statvfs(MSHARE_DIR, &st))
		return -errno;
	if (total)
		*total = st.f_blocks;
	return st.f_blocks - st.f_bfree;
}

/* What a region counts for even if it is empty, in pages: see mshare_span(). */
static long tables_of(const char *at, size_t len)
{
	unsigned long start = (unsigned long)at, end = start + len;
	unsigned long unit, from, to;
	long tables = 0;

	for (unit = start / UNIT * UNIT; unit < end; unit += UNIT) {
		from = start > unit ? start : unit;
		to = end < unit + UNIT ? end : unit + UNIT;
		tables += 1 + (to - from < UNIT ? (to - from) / GIB : 0);
	}
	return tables;
}

/* Writes to pages until one fails. Return: how many succeeded. */
static long fill(char *addr, long pages)
{
	long i;

	for (i = 0; i < pages; i++)
		if (probe_store(addr + i * PAGE, i + 1))
			break;
	return i;
}

static bool within(long slop, long want, long got)
{
	if (labs(want - got) <= slop)
		return true;
	ksft_print_msg("%ld instead of about %ld\n", got, want);
	return false;
}

static bool near(long want, long got)
{
	return within(SLOP, want, got);
}

/* A region at its limit: the next page is SIGBUS, or EFAULT in a call. */
static void over_size(struct __test_metadata *_metadata,
		      FIXTURE_DATA(mshare) * self, int flags, int fd)
{
	long got, total = -1;

	ASSERT_EQ(0, remount("size=32m"));
	MAKE_REGION();
	ASSERT_EQ(0, map_fd(self->addr, 2 * LIMIT, RW, flags, fd, 0));
	got = fill(self->addr, 2 * LIMIT_PAGES);
	EXPECT_EQ(SIGBUS, last_fault.sig);
	EXPECT_TRUE(near(LIMIT_PAGES, got));
	EXPECT_TRUE(near(LIMIT_PAGES, used_pages(&total)));
	EXPECT_EQ(LIMIT_PAGES, total);
	EXPECT_EQ(-EFAULT, do_madvise(self->addr + 2 * LIMIT - PAGE, PAGE,
				      MADV_POPULATE_WRITE));
	/* Existing pages can still be read and written. */
	EXPECT_EQ(got, fill(self->addr, got));
	EXPECT_EQ(1, load(self->addr));
	/* A larger limit applies at once. */
	ASSERT_EQ(0, remount("size=48m"));
	EXPECT_TRUE(near(LIMIT_PAGES / 2 * 3, fill(self->addr, 2 * LIMIT_PAGES)));
	ASSERT_EQ(0, remount("size=0"));
	EXPECT_EQ(2 * LIMIT_PAGES, fill(self->addr, 2 * LIMIT_PAGES));

	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	ASSERT_EQ(0, remount("size=1g"));
	if (fd < 0)
		EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000))
			TH_LOG("%ld pages in use", used_pages(NULL));
	EXPECT_EQ(0, no_limit());
}

static bool have_room(void)
{
	return meminfo_kb("MemAvailable") > 160 * 1024;
}

TEST_F(mshare, anon_over_size)
{
	if (!have_room())
		SKIP(return, "too little memory");
	over_size(_metadata, self, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		  -1);
}

TEST_F(mshare, shared_anon_over_size)
{
	if (!have_room())
		SKIP(return, "too little memory");
	over_size(_metadata, self, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
		  -1);
}

TEST_F(mshare, memfd_over_size)
{
	static char zeros[65536];
	int fd = memfd_create("large", MFD_CLOEXEC);
	long n;

	if (!have_room())
		SKIP(return, "too little memory");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, neg(ftruncate(fd, 2 * LIMIT)));
	over_size(_metadata, self, MAP_SHARED, fd);
	/* It counts until it has been freed, and write() sees that, too. */
	ASSERT_EQ(0, remount("size=1g"));
	EXPECT_TRUE(near(2 * LIMIT_PAGES, used_pages(NULL)));
	EXPECT_EQ(-EINVAL, remount("size=32m"));
	ASSERT_EQ(0, neg(ftruncate(fd, 0)));
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	ASSERT_EQ(0, remount("size=32m"));
	while ((n = neg(write(fd, zeros, sizeof(zeros)))) == sizeof(zeros))
		;
	if (n > 0)
		n = neg(write(fd, zeros, sizeof(zeros)));
	EXPECT_EQ(-ENOSPC, n);
	EXPECT_TRUE(near(LIMIT_PAGES, used_pages(NULL)));
	close(fd);
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	EXPECT_EQ(0, no_limit());
}

/* Removing a page from page tables does not free it. */
TEST_F(mshare, dontneed_does_not_evade)
{
	long i, got = 0;

	if (!have_room())
		SKIP(return, "too little memory");
	ASSERT_EQ(0, remount("size=32m"));
	MAKE_REGION();
	ASSERT_EQ(0, map_shmem(self->addr, 2 * LIMIT, RW));
	for (i = 0; i < 16; i++) {
		got += fill(self->addr + i * LIMIT / 8, LIMIT_PAGES / 8);
		ASSERT_EQ(0, do_madvise(self->addr, 2 * LIMIT, MADV_DONTNEED));
	}
	EXPECT_TRUE(near(LIMIT_PAGES, got));
	/* Removing it from the object does. */
	ASSERT_EQ(0, do_madvise(self->addr, 2 * LIMIT, MADV_REMOVE));
	EXPECT_EQ(tables_of(self->addr, self->len) + LIMIT / (2 * MEG),
		  used_pages(NULL));
	EXPECT_LT(LIMIT_PAGES / 2, fill(self->addr, LIMIT_PAGES));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	EXPECT_EQ(0, no_limit());
}

/* Swapped pages do not count less: anonymous and shared ones still count. */
static void swap_out(struct __test_metadata *_metadata,
		     FIXTURE_DATA(mshare) * self, bool shmem)
{
	long before = meminfo_kb("SwapFree"), got = 0, i;

	/* The region of another test may still be on its way out. */
	ASSERT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	ASSERT_EQ(0, remount("size=32m"));
	MAKE_REGION();
	ASSERT_EQ(0, shmem ? map_shmem(self->addr, 2 * LIMIT, RW) :
			     map_anon(self->addr, 2 * LIMIT, RW));
	if (have_thp())
		do_madvise(self->addr, 2 * LIMIT, MADV_NOHUGEPAGE);
	for (i = 0; i < 16; i++) {
		got += fill(self->addr + i * LIMIT / 8, LIMIT_PAGES / 8);
		ASSERT_EQ(0, do_madvise(self->addr, 2 * LIMIT, MADV_PAGEOUT));
	}
	/* Most of it was swapped out, otherwise nothing was tested. */
	EXPECT_LT((long)(LIMIT / 2048), before - meminfo_kb("SwapFree"));
	EXPECT_TRUE(near(LIMIT_PAGES, got));
	EXPECT_TRUE(near(LIMIT_PAGES, used_pages(NULL)));
	/* It comes back page by page, and the count does not grow. */
	EXPECT_EQ(1, load(self->addr));
	EXPECT_EQ(LIMIT_PAGES / 8, load(self->addr + LIMIT / 8 - PAGE));
	EXPECT_EQ(SIGBUS, probe_store(self->addr + 2 * LIMIT - PAGE, 1));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	EXPECT_EQ(0, no_limit());
}

TEST_F(mshare, swap_does_not_evade)
{
	int swap = swap_begin();

	if (swap < 0)
		SKIP(return, "no swap: %s", strerror(-swap));
	swap_out(_metadata, self, false);
	swap_out(_metadata, self, true);
	if (swap)
		EXPECT_EQ(0, swap_end());
}

/* Another region can use at once what one region frees. */
TEST_F(mshare, unmapped_is_room_for_others)
{
	char *other = self->addr + self->granule;

	if (!have_room())
		SKIP(return, "too little memory");
	ASSERT_EQ(0, remount("size=32m"));
	MAKE_REGION();
	ASSERT_EQ(0, sys_mshare(self->name2, other, self->len,
				O_CREAT | O_EXCL | O_RDWR, 0600));
	ASSERT_EQ(0, map_anon(self->addr, LIMIT, RW));
	ASSERT_EQ(0, map_anon(other, LIMIT, RW));
	EXPECT_TRUE(near(LIMIT_PAGES, fill(self->addr, LIMIT_PAGES)));
	EXPECT_TRUE(near(0, fill(other, LIMIT_PAGES)));
	ASSERT_EQ(0, do_munmap(self->addr + LIMIT / 2, LIMIT / 2));
	EXPECT_TRUE(near(LIMIT_PAGES / 2, fill(other, LIMIT_PAGES)));
	ASSERT_EQ(0, do_madvise(self->addr, LIMIT / 2, MADV_DONTNEED));
	EXPECT_TRUE(near(LIMIT_PAGES, fill(other, LIMIT_PAGES)));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(0, sys_mshare_unlink(self->name2));
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	EXPECT_EQ(0, no_limit());
}

/*
 * Pages of a private file mapping belong to the region once they are written
 * to, and count then. A copy that replaces a page does not count again.
 */
TEST_F(mshare, private_file_pages_count)
{
	int fd = temp_file(LIMIT), status;
	long got, i;
	pid_t pid;

	if (!have_room())
		SKIP(return, "too little memory");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, remount("size=16m"));
	/* A child shares the donated pages until they are copied. */
	ASSERT_EQ(0, map_anon(self->addr + LIMIT, 8 * MEG, RW));
	ASSERT_EQ((long)(8 * MEG / PAGE), fill(self->addr + LIMIT,
					       8 * MEG / PAGE));
	pid = fork();
	if (!pid) {
		pause();
		_exit(0);
	}
	MAKE_REGION();
	ASSERT_EQ(0, map_fd(self->addr, LIMIT, RW, MAP_PRIVATE, fd, 0));
	EXPECT_TRUE(near(8 * MEG / PAGE, used_pages(NULL)));
	/* Read first, so that the write fault makes a copy. */
	for (i = 0; i < LIMIT_PAGES / 8; i++)
		ASSERT_EQ(0, load(self->addr + i * PAGE));
	EXPECT_TRUE(near(8 * MEG / PAGE, used_pages(NULL)));
	got = fill(self->addr, LIMIT_PAGES);
	EXPECT_TRUE(near(8 * MEG / PAGE, got));
	EXPECT_EQ(SIGBUS, probe_store(self->addr + LIMIT - PAGE, 1));
	EXPECT_EQ(0, load(self->addr + LIMIT - PAGE));
	EXPECT_EQ((long)(8 * MEG / PAGE), fill(self->addr + LIMIT,
					       8 * MEG / PAGE));
	kill(pid, SIGKILL);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	close(fd);
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	EXPECT_EQ(0, no_limit());
}

/* If it does not fit, a donor keeps its memory unchanged. */
TEST_F(mshare, donation_over_size_enospc)
{
	int fd = memfd_create("donated", MFD_CLOEXEC);
	const long half = 12 * MEG;

	if (!have_room())
		SKIP(return, "too little memory");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, neg(ftruncate(fd, half)));
	ASSERT_EQ(0, map_anon(self->addr, half, RW));
	ASSERT_EQ(0, map_fd(self->addr + half, half, RW, MAP_SHARED, fd, 0));
	/* Of a reserved range, only its pages count. */
	ASSERT_EQ(0, map_fd(self->addr + 2 * half, 4 * LIMIT, RW, MAP_PRIVATE |
			    MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	ASSERT_EQ(0, probe_store(self->addr + 2 * half, 1));
	ASSERT_EQ(2 * half / (long)PAGE, fill(self->addr, 2 * half / PAGE));

	ASSERT_EQ(0, remount("size=8m"));
	EXPECT_EQ(-ENOSPC, sys_mshare(self->name, self->addr, self->len,
				      O_CREAT | O_RDWR, 0600));
	ASSERT_EQ(0, remount("size=16m"));
	EXPECT_EQ(-ENOSPC, sys_mshare(self->name, self->addr, self->len,
				      O_CREAT | O_RDWR, 0600));
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	EXPECT_EQ(self->names_before, region_names(false));
	EXPECT_EQ(2 * half / (long)PAGE, fill(self->addr, 2 * half / PAGE));

	ASSERT_EQ(0, remount("size=32m"));
	MAKE_REGION();
	EXPECT_TRUE(near(2 * half / PAGE, used_pages(NULL)));
	EXPECT_EQ(1, load(self->addr));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(WAIT_FOR(labs(used_pages(NULL) - half / (long)PAGE) < 64,
			     10000));
	close(fd);
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	EXPECT_EQ(0, no_limit());
}

/*
 * Near the limit, the pages of a donation are counted one by one: those of a
 * private file mapping, and none if a mapping has no tables at all.
 */
TEST_F(mshare, donation_near_size)
{
	char *other = self->addr + self->granule, *border[3], *at;
	int fd = temp_file(8 * MEG), i;

	ASSERT_LE(0, fd);
	/*
	 * More than the limit, so that the donor's total does not show that the
	 * donation fits.
	 */
	ASSERT_EQ(0, map_anon(other, 8 * MEG, RW));
	do_madvise(other, 8 * MEG, MADV_NOHUGEPAGE);
	ASSERT_EQ(1024, fill(other, 1024));
	ASSERT_EQ(0, remount("size=1m"));

	/*
	 * A mapping with an anon_vma, of which one half has no tables: none at the
	 * top level, if there are five, none in a unit, or none in a granule.
	 */
	border[0] = (char *)(1UL << 50);
	border[1] = (char *)FAR_UNIT;
	border[2] = (char *)FAR_UNIT + 100 * GIB;
	for (i = 0; i < 3; i++) {
		at = border[i] - GIB;
		if (map_fd(at, 2 * GIB, RW, MAP_PRIVATE | MAP_ANONYMOUS |
			   MAP_NORESERVE, -1, 0)) {
			ASSERT_EQ(0, i);
			continue;
		}
		do_madvise(at, 2 * GIB, MADV_NOHUGEPAGE);
		ASSERT_EQ(16, fill(border[i] - 16 * PAGE, 16));
		ASSERT_EQ(0, sys_mshare(self->name, at, 2 * GIB,
					O_CREAT | O_EXCL | O_RDWR, 0600));
		EXPECT_EQ(16 + 1 + tables_of(at, 2 * GIB), used_pages(NULL));
		EXPECT_EQ(16, load(border[i] - PAGE));
		EXPECT_EQ(16, fill(border[i], 16));
		EXPECT_EQ(0, debug_check());
		EXPECT_EQ(0, sys_mshare_unlink(self->name));
		ASSERT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	}

	ASSERT_EQ(0, map_fd(self->addr, 8 * MEG, RW, MAP_PRIVATE, fd, 0));
	ASSERT_EQ(512, fill(self->addr, 512));
	EXPECT_EQ(-ENOSPC, sys_mshare(self->name, self->addr, self->len,
				      O_CREAT | O_RDWR, 0600));
	ASSERT_EQ(0, do_madvise(self->addr + 16 * PAGE, 8 * MEG - 16 * PAGE,
				MADV_DONTNEED));
	MAKE_REGION();
	/* The tables of the region that failed may go a moment later. */
	EXPECT_TRUE(WAIT_FOR(used_pages(NULL) ==
			     16 + 1 + tables_of(self->addr, self->len), 10000))
		TH_LOG("%ld pages in use", used_pages(NULL));
	EXPECT_EQ(16, load(self->addr + 15 * PAGE));
	EXPECT_EQ(0, load(self->addr + 16 * PAGE));
	close(fd);
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	EXPECT_EQ(0, no_limit());
}

/* Small pages if a large page does not fit. */
TEST_F(mshare, huge_pages_respect_size)
{
	const long len = 8 * MEG;
	long got;

	if (!have_thp() || !have_room())
		SKIP(return, "no huge pages, or too little memory");
	ASSERT_EQ(0, remount("size=7m"));
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, len, RW));
	do_madvise(self->addr, len, MADV_HUGEPAGE);
	got = fill(self->addr, len / PAGE);
	EXPECT_GT(len / (long)PAGE, got);
	EXPECT_TRUE(near(7 * MEG / PAGE, used_pages(NULL)));
	/* A collapse does not allocate more either. */
	do_madvise(self->addr, len, MADV_COLLAPSE);
	EXPECT_GE((long)(7 * MEG / PAGE) + 128, used_pages(NULL));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	EXPECT_EQ(0, no_limit());
}

/* Shared memory that was never in a region does not count. */
TEST_F(mshare, ordinary_shmem_unaffected)
{
	char *at = self->addr + self->granule;

	ASSERT_EQ(0, remount("size=1m"));
	ASSERT_EQ(0, map_shmem(at, 8 * MEG, RW));
	EXPECT_EQ((long)(8 * MEG / PAGE), fill(at, 8 * MEG / PAGE));
	EXPECT_EQ(0, used_pages(NULL));
	EXPECT_EQ(0, no_limit());
}

/* A tmpfs with a size has a limit of its own. */
TEST_F(mshare, tmpfs_with_size_not_counted)
{
	const char *dir = "/tmp/mshare-sized";
	int fd;

	mkdir(dir, 0700);
	ASSERT_EQ(0, neg(mount("t", dir, "tmpfs", 0, "size=8m")));
	fd = open("/tmp/mshare-sized/file", O_RDWR | O_CREAT, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, neg(ftruncate(fd, 4 * MEG)));
	ASSERT_EQ(0, remount("size=1m"));
	MAKE_REGION();
	ASSERT_EQ(0, map_fd(self->addr, 4 * MEG, RW, MAP_SHARED, fd, 0));
	EXPECT_EQ((long)(4 * MEG / PAGE), fill(self->addr, 4 * MEG / PAGE));
	EXPECT_EQ(tables_of(self->addr, self->len), used_pages(NULL));
	close(fd);
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(WAIT_FOR(!umount(dir), 10000));
	rmdir(dir);
	EXPECT_EQ(0, no_limit());
}

/* A second descriptor of the same object, with other rights. */
static int reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

/* Does a call that must fail with @err leave about as many pages in use? */
static bool charges_nothing(long before, long err, long ret)
{
	return err == ret && within(FEW, before, used_pages(NULL));
}

/* An object counts from the first call that maps it, and not from an attempt. */
TEST_F(mshare, failed_calls_charge_nothing)
{
	int fd = memfd_create("object", MFD_CLOEXEC), reader, writer;
	long before;

	ASSERT_LE(0, fd);
	reader = reopen(fd, O_RDONLY);
	writer = reopen(fd, O_WRONLY);
	ASSERT_LE(0, reader);
	ASSERT_LE(0, writer);
	ASSERT_EQ(0, neg(posix_fallocate(fd, 0, 16 * MEG)));
	MAKE_REGION();
	before = used_pages(NULL);
	EXPECT_TRUE(charges_nothing(before, -EINVAL,
				    map_fd(self->addr + 1, PAGE, RW, MAP_SHARED,
					   fd, 0)));
	EXPECT_TRUE(charges_nothing(before, -EACCES,
				    map_fd(self->addr, PAGE, RW, MAP_SHARED,
					   reader, 0)));
	EXPECT_TRUE(charges_nothing(before, -EACCES,
				    map_fd(self->addr, PAGE, PROT_READ,
					   MAP_SHARED, writer, 0)));
	/* PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN */
	if (!prctl(65, 1UL, 0UL, 0UL, 0UL))
		EXPECT_TRUE(charges_nothing(before, -EACCES,
					    map_fd(self->addr, PAGE,
						   RW | PROT_EXEC, MAP_SHARED,
						   fd, 0)));
	EXPECT_EQ(0, map_fd(self->addr, PAGE, PROT_READ, MAP_SHARED, reader, 0));
	EXPECT_TRUE(within(FEW, 16 * MEG / PAGE, used_pages(NULL) - before));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	close(fd);
	close(reader);
	close(writer);
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
}

PEER_FN(pf_map_as_nobody)
{
	PEER_UNUSED();
	return neg(setresuid(65534, 65534, 65534)) ?:
	       map_fd((void *)a, PAGE, PROT_READ, MAP_SHARED, b, 0);
}

PEER_FN(pf_map_own)
{
	int fd = memfd_create("own", MFD_CLOEXEC), reader;

	PEER_UNUSED();
	if (ftruncate(fd, PAGE))
		return -errno;
	reader = reopen(fd, O_RDONLY);
	close(fd);
	return map_fd((void *)a, PAGE, PROT_READ, MAP_SHARED, reader, 0);
}

PEER_FN(pf_donate)
{
	PEER_UNUSED();
	return map_fd((void *)a, PAGE, PROT_READ, MAP_SHARED, c, 0) ?:
	       sys_mshare("of-nobody", (void *)a, b, O_CREAT | O_RDWR, 0600);
}

/*
 * An object that counts is limited, whoever uses it. A descriptor for reading
 * does not give the right to cause that.
 */
TEST_F(mshare, reader_cannot_limit_another_users_object)
{
	int fd = memfd_create("object", MFD_CLOEXEC), reader;
	char *at = self->addr + 2 * self->granule;
	struct peer p;
	long before;

	ASSERT_LE(0, fd);
	reader = reopen(fd, O_RDONLY);
	ASSERT_LE(0, reader);
	ASSERT_EQ(0, neg(posix_fallocate(fd, 0, 16 * MEG)));
	ASSERT_EQ(0, neg(chmod(MSHARE_DIR, 01777)));
	MAKE_REGION();
	ASSERT_EQ(0, peer_start(&p));
	before = used_pages(NULL);
	EXPECT_EQ(-EPERM, peer_call(&p, pf_map_as_nobody, (long)self->addr,
				    reader));
	EXPECT_EQ(-EPERM, peer_call(&p, pf_donate, (long)at, self->granule,
				    reader));
	EXPECT_TRUE(within(FEW, before, used_pages(NULL)));
	EXPECT_EQ(0, peer_call(&p, pf_map_own, (long)self->addr));
	/* Whoever may write to it could limit it anyway, by filling it. */
	EXPECT_EQ(0, peer_call(&p, pf_donate, (long)at, self->granule, fd));
	EXPECT_TRUE(within(FEW, 16 * MEG / PAGE, used_pages(NULL) - before));
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, sys_mshare_unlink("of-nobody"));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(0, neg(chmod(MSHARE_DIR, 0755)));
	close(fd);
	close(reader);
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
}

/* Reads a page of each 2 MiB until one fails. Return: how many succeeded. */
static long read_sparsely(const char *addr, size_t len)
{
	size_t at;
	long value;

	for (at = 0; at < len; at += 2 * MEG)
		if (probe_load(addr + at, &value))
			break;
	return at / (2 * MEG);
}

#define SCAN_SLEEP "/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs"

/* Reading takes tables, for zero pages of both sizes as for a file on a disk. */
TEST_F(mshare, tables_of_what_is_read_count)
{
	const size_t len = 512 * MEG;
	bool thp = have_thp();
	long tables, got;
	char sleep[32];
	int fd, i;

	/* khugepaged keeps the host until it looks again. */
	if (thp) {
		ASSERT_LT(0, slurp(SCAN_SLEEP, sleep, sizeof(sleep)));
		spew_num(SCAN_SLEEP, 10);
	}
	ASSERT_EQ(0, remount("size=1m"));
	for (i = 0; i < 3; i++) {
		MAKE_REGION();
		tables = tables_of(self->addr, self->len);
		fd = i == 2 ? temp_file(len) : -1;
		ASSERT_EQ(0, map_fd(self->addr, len, PROT_READ, MAP_NORESERVE |
				    MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0),
				    fd, 0));
		do_madvise(self->addr, len,
			   i == 1 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		got = read_sparsely(self->addr, len);
		EXPECT_EQ(SIGBUS, last_fault.sig);
		EXPECT_TRUE(within(FEW, 256 - tables, got));
		EXPECT_TRUE(within(FEW, 256, used_pages(NULL)));
		/* What has a table can be read. */
		EXPECT_EQ(got, read_sparsely(self->addr, got * 2 * MEG));
		EXPECT_EQ(-EFAULT, do_madvise(self->addr + len - PAGE, PAGE,
					      MADV_POPULATE_READ));
		/* The tables go with the mapping. */
		ASSERT_EQ(0, do_munmap(self->addr, len));
		EXPECT_TRUE(within(FEW, tables, used_pages(NULL)));
		ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
		EXPECT_EQ(0, probe_store(self->addr, 1));
		EXPECT_EQ(0, sys_mshare_unlink(self->name));
		ASSERT_EQ(0, do_munmap(self->addr, self->len));
		EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
		if (fd >= 0)
			close(fd);
	}
	if (thp) {
		EXPECT_TRUE(WAIT_FOR(debug_regions() <= self->regions_before,
				     10000));
		spew(SCAN_SLEEP, sleep);
	}
	EXPECT_EQ(0, no_limit());
}

/* mremap() may leave tables behind, and does what it is asked or nothing. */
TEST_F(mshare, tables_of_moves_count)
{
	const size_t len = 32 * MEG;
	const long pieces = len / (2 * MEG);
	char *at = self->addr, *to;
	long i, moves, err = 0;

	ASSERT_EQ(0, remount("size=1m"));
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(at, len, RW));
	do_madvise(at, len, MADV_NOHUGEPAGE);
	for (i = 0; i < pieces; i++)
		ASSERT_EQ(0, probe_store(at + i * 2 * MEG, i + 1));
	for (moves = 0; moves < 28; moves++) {
		/* Not at the same place of a table, so that none is moved whole. */
		to = at + len + 2 * MEG + PAGE;
		err = (long)mremap(at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED |
				   MREMAP_DONTUNMAP, to) == -1 ? errno : 0;
		if (err)
			break;
		at = to;
	}
	EXPECT_EQ(ENOMEM, err);
	EXPECT_TRUE(within(FEW, 256, used_pages(NULL)));
	EXPECT_TRUE(within(2, 256 / pieces - 2, moves));
	for (i = 0; i < pieces; i++)
		EXPECT_EQ(i + 1, load(at + i * 2 * MEG));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	EXPECT_EQ(0, no_limit());
}

/* A donor brings its tables. */
TEST_F(mshare, tables_of_donor_count)
{
	const size_t len = 512 * MEG;

	ASSERT_EQ(0, map_fd(self->addr, len, PROT_READ, MAP_NORESERVE |
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	do_madvise(self->addr, len, MADV_NOHUGEPAGE);
	ASSERT_EQ(256, read_sparsely(self->addr, len));
	ASSERT_EQ(0, remount("size=1m"));
	EXPECT_EQ(-ENOSPC, sys_mshare(self->name, self->addr, self->len,
				      O_CREAT | O_RDWR, 0600));
	EXPECT_EQ(256, read_sparsely(self->addr, len));
	ASSERT_EQ(0, remount("size=2m"));
	MAKE_REGION();
	EXPECT_TRUE(within(FEW, 256 + tables_of(self->addr, self->len),
			   used_pages(NULL)));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	EXPECT_EQ(0, no_limit());
}

/*
 * A region has the tables that windows link even if it is empty and has no
 * window, and they are the larger part of what empty regions take.
 */
TEST_F(mshare, tables_of_empty_region_count)
{
	char *at = (char *)(40 * UNIT) + GIB, *other = at + UNIT;
	int fd;

	if (self->regions_before || self->names_before)
		SKIP(return, "regions of others");
	ASSERT_EQ(0, remount("size=1m"));
	ASSERT_EQ(0, sys_mshare(self->name, at, 100 * GIB,
				O_CREAT | O_EXCL | O_RDWR, 0600));
	/* A PMD table for each granule, and the PUD table above them. */
	EXPECT_EQ(101, used_pages(NULL));
	EXPECT_EQ(404, region_figure(self->name, "mshare-pgtables-kb"));
	ASSERT_EQ(0, do_munmap(at, 100 * GIB));
	EXPECT_EQ(101, used_pages(NULL));
	EXPECT_EQ(-EINVAL, remount("size=400k"));

	/* One more than fits, and nothing is left of it. */
	EXPECT_EQ(-ENOSPC, sys_mshare(self->name2, other, 155 * GIB,
				      O_CREAT | O_EXCL | O_RDWR, 0600));
	EXPECT_EQ(1, region_names(false));
	EXPECT_EQ(101, used_pages(NULL));
	ASSERT_EQ(0, sys_mshare(self->name2, other, 154 * GIB,
				O_CREAT | O_EXCL | O_RDWR, 0600));
	EXPECT_EQ(256, used_pages(NULL));
	ASSERT_EQ(0, map_anon(other, PAGE, RW));
	EXPECT_EQ(SIGBUS, probe_store(other, 1));

	/* An open file of a region that is gone keeps none. */
	fd = region_open(self->name, O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	/* And a table for what was mapped. */
	EXPECT_TRUE(WAIT_FOR(used_pages(NULL) == 156, 10000))
		TH_LOG("%ld pages in use", used_pages(NULL));
	EXPECT_EQ(0, probe_store(other, 1));
	close(fd);
	EXPECT_EQ(0, sys_mshare_unlink(self->name2));
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));

	/* A unit that the region fills takes a PUD table only, its ends take more. */
	at = (char *)(40 * UNIT);
	ASSERT_EQ(0, sys_mshare(self->name, at, UNIT,
				O_CREAT | O_EXCL | O_RDWR, 0600));
	EXPECT_EQ(1, used_pages(NULL));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	ASSERT_EQ(0, sys_mshare(self->name, at - 2 * GIB, UNIT + 5 * GIB,
				O_CREAT | O_EXCL | O_RDWR, 0600));
	EXPECT_EQ(3 + 2 + 3, used_pages(NULL));
	EXPECT_EQ(32, region_figure(self->name, "mshare-pgtables-kb"));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000));
	EXPECT_EQ(0, no_limit());
}

TEST_F(mshare, options)
{
	static const char * const bad[] = {
		"size=", "size=x", "size=-1", "size=101%", "size=10q",
		"size=1g%", "size=99999999999999999999", "size=16e",
		"nr_regions=", "nr_regions=x", "nr_regions=-1", "nr_regions=5%",
		"nr_regions=4294967296",
	};
	long half = sysconf(_SC_PHYS_PAGES) / 2, total = -1;
	struct statvfs st;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(-EINVAL, remount(bad[i]))
			TH_LOG("number %zu of the list", i);
	ASSERT_EQ(0, remount("size=3g"));
	EXPECT_EQ(0, used_pages(&total));
	EXPECT_EQ(786432, total);
	ASSERT_EQ(0, remount("size=5000"));
	EXPECT_EQ(0, used_pages(&total));
	EXPECT_EQ(2, total);
	ASSERT_EQ(0, remount("size=25%"));
	EXPECT_EQ(0, used_pages(&total));
	EXPECT_GE(half / 8, labs(total - half / 2));
	/* Other options do not change it. */
	ASSERT_EQ(0, remount("mode=0755"));
	EXPECT_EQ(0, used_pages(&total));
	EXPECT_GE(half / 8, labs(total - half / 2));
	ASSERT_EQ(0, remount("size=0,nr_regions=1k"));
	ASSERT_EQ(0, neg(statvfs(MSHARE_DIR, &st)));
	EXPECT_EQ(0UL, st.f_blocks);
	EXPECT_EQ(1024UL, st.f_files);
	EXPECT_EQ(1024UL - self->names_before, st.f_ffree);
	EXPECT_EQ(0, no_limit());
	EXPECT_EQ(0, used_pages(&total));
	EXPECT_GE(half / 4, labs(total - half));
}

/* Owner and mode of the root; /proc/mounts shows all options. */
TEST_F(mshare, options_shown)
{
	static char mounts[1 << 16];
	char back[128];
	struct stat st;

	ASSERT_EQ(0, neg(stat(MSHARE_DIR, &st)));
	snprintf(back, sizeof(back), "uid=%u,gid=%u,mode=%o", st.st_uid,
		 st.st_gid, st.st_mode & 07777);
	EXPECT_EQ(-EINVAL, remount("mode=10000"));
	EXPECT_EQ(-EINVAL, remount("mode=9"));
	EXPECT_EQ(-EINVAL, remount("uid=x"));
	ASSERT_EQ(0, remount("uid=1,gid=2,mode=1770,size=64m,nr_regions=77"));
	ASSERT_EQ(0, neg(stat(MSHARE_DIR, &st)));
	EXPECT_EQ(1U, st.st_uid);
	EXPECT_EQ(2U, st.st_gid);
	EXPECT_EQ(01770U, st.st_mode & 07777);
	ASSERT_LT(0, slurp("/proc/mounts", mounts, sizeof(mounts)));
	EXPECT_TRUE(!!strstr(mounts,
			     ",uid=1,gid=2,mode=1770,size=65536k,nr_regions=77"))
		TH_LOG("%s", mounts);
	EXPECT_EQ(0, remount(back));
	EXPECT_EQ(0, no_limit());
}

TEST_F(mshare, nr_regions_enospc_and_back)
{
	char options[64];
	struct statvfs st;
	long i;

	snprintf(options, sizeof(options), "nr_regions=%d",
		 self->regions_before + self->names_before + 1);
	if (self->regions_before || self->names_before)
		SKIP(return, "other regions");
	ASSERT_EQ(0, remount(options));
	/* Any number of regions, one after the other. */
	for (i = 0; i < 20; i++) {
		MAKE_REGION();
		EXPECT_EQ(-ENOSPC, sys_mshare(self->name2,
					      self->addr + self->granule,
					      self->len, O_CREAT | O_RDWR,
					      0600));
		ASSERT_EQ(0, neg(statvfs(MSHARE_DIR, &st)));
		EXPECT_EQ(1UL, st.f_files);
		EXPECT_EQ(0UL, st.f_ffree);
		EXPECT_EQ(1, region_names(false));
		EXPECT_EQ(0, sys_mshare_unlink(self->name));
		/* The count is reduced when the region is freed. */
		ASSERT_TRUE(WAIT_FOR(!statvfs(MSHARE_DIR, &st) &&
				     st.f_ffree == 1, 10000));
	}
	/* Not below the current use, and not by a second mount either. */
	ASSERT_EQ(0, remount("nr_regions=2"));
	MAKE_REGION();
	ASSERT_EQ(0, sys_mshare(self->name2, self->addr + self->granule,
				self->len, O_CREAT | O_RDWR, 0600));
	EXPECT_EQ(-EINVAL, remount("nr_regions=1"));
	EXPECT_EQ(-EINVAL, neg(mount("m", "/mnt", "msharefs", 0,
				     "nr_regions=1")));
	ASSERT_EQ(0, neg(mount("m", "/mnt", "msharefs", 0, "nr_regions=3")));
	ASSERT_EQ(0, neg(umount("/mnt")));
	ASSERT_EQ(0, neg(statvfs(MSHARE_DIR, &st)));
	EXPECT_EQ(3UL, st.f_files);
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(0, sys_mshare_unlink(self->name2));
	EXPECT_EQ(0, no_limit());
}

/* Detached regions with no, one or two pages each. Return: the pages of all. */
static long make_crowd(char *at, unsigned long len, long crowd)
{
	long i, pages = 0, err;
	char name[64];

	for (i = 0; i < crowd; i++) {
		snprintf(name, sizeof(name), MSHARE_PREFIX "crowd.%ld", i);
		err = sys_mshare(name, at, len, O_CREAT | O_EXCL | O_RDWR,
				 0600);
		if (!err)
			err = i & 1 ? map_anon(at, 2 * PAGE, RW) :
				      map_shmem(at, 2 * PAGE, RW);
		if (!err && fill(at, i % 3) != i % 3)
			err = -EFAULT;
		if (!err)
			err = do_munmap(at, len);
		if (err)
			return err;
		pages += i % 3;
	}
	return pages;
}

/*
 * Each of many regions has fewer pages than a CPU keeps back from the count.
 * Still nothing remains in the count after their names or their file system are
 * gone.
 */
TEST_F(mshare, zero_after_umount)
{
	long crowd = scaled(1000, 150), pages, tables;
	struct statvfs st;

	if (self->regions_before || self->names_before)
		SKIP(return, "other regions");
	ASSERT_EQ(0, remount("size=64m,nr_regions=2k"));
	pages = make_crowd(self->addr, self->len, crowd);
	ASSERT_EQ(crowd / 3 * 3 + crowd % 3 / 2, pages);
	ASSERT_EQ(0, neg(statvfs(MSHARE_DIR, &st)));
	EXPECT_EQ(2048UL - crowd, st.f_ffree);
	/* Shared pages are counted at once, some of the others later. */
	tables = crowd * tables_of(self->addr, self->len);
	EXPECT_LE(pages / 2 - 2 + tables, used_pages(NULL));
	EXPECT_GE(pages + tables, used_pages(NULL));
	EXPECT_EQ(0, region_names(true));
	EXPECT_TRUE(WAIT_FOR(!statvfs(MSHARE_DIR, &st) &&
			     st.f_ffree == 2048, 20000));
	EXPECT_TRUE(WAIT_FOR(!used_pages(NULL), 10000))
		TH_LOG("%ld pages in use", used_pages(NULL));

	ASSERT_LT(0, make_crowd(self->addr, self->len, crowd / 10));
	if (umount(MSHARE_DIR))
		SKIP(return, "msharefs is in use");
	EXPECT_EQ(0, debug_regions());
	ASSERT_EQ(0, neg(mount("msharefs", MSHARE_DIR, "msharefs", 0,
			       "size=64m")));
	EXPECT_EQ(0, used_pages(NULL));
	ASSERT_EQ(0, neg(statvfs(MSHARE_DIR, &st)));
	EXPECT_EQ(st.f_files, st.f_ffree);
	EXPECT_EQ(0, no_limit());
}

static long own_score(void)
{
	char buf[32];

	return slurp("/proc/self/oom_score", buf, sizeof(buf)) > 0 ?
		atol(buf) : -1;
}

PEER_FN(pf_score)
{
	PEER_UNUSED();
	return own_score();
}

/* A sharer's score includes its part of the region. */
TEST_F(mshare, oom_score_has_share)
{
	const long len = 96 * MEG;
	long before, alone, both, of_peer;
	struct peer p, q;

	if (!have_room())
		SKIP(return, "too little memory");
	ASSERT_EQ(0, remount("size=0"));
	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, peer_start(&q));
	MAKE_REGION();
	ASSERT_EQ(0, map_shmem(self->addr, len, RW));
	before = own_score();
	ASSERT_LT(0, before);
	ASSERT_EQ(len / (long)PAGE, fill(self->addr, len / PAGE));
	alone = own_score();
	/* Two thirds are shown, as 1000 stands for all memory. */
	EXPECT_LE(before + len / 1024 * 1000 / meminfo_kb("MemTotal") / 3,
		  alone);
	ATTACH_PEER(&p, O_RDONLY);
	both = own_score();
	of_peer = peer_call(&p, pf_score);
	EXPECT_GE(before + (alone - before) / 4 * 3, both);
	EXPECT_LE(before + (alone - before) / 4, both);
	EXPECT_GE(before + (alone - before) / 4 * 3, of_peer);
	EXPECT_LE(before + (alone - before) / 4, of_peer);
	/* The score of other processes does not include it. */
	EXPECT_GE(before + 1, peer_call(&q, pf_score));
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, peer_stop(&q));
	EXPECT_EQ(alone, own_score());
	EXPECT_EQ(0, no_limit());
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
