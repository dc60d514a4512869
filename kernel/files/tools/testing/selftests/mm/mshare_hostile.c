// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: bad input gets the right error and changes nothing; and large amounts
 * of input of any kind at once.
 */
#include "mshare_helpers.h"

#include "mshare_failnth.h"

#define KEEP 0x0ddba11L

/* What both calls, and both uses of the first call, return for a name. */
static long bad_name(const char *name, void *addr, size_t len, int names)
{
	long ret = sys_mshare(name, addr, len, O_CREAT | O_RDWR, 0600);

	if (sys_mshare(name, addr, len, O_RDWR, 0) != ret ||
	    sys_mshare_unlink(name) != ret)
		return 1000;
	/* Nothing remains of it. */
	if (region_names(false) != names || self_maps_line(addr))
		return 2000;
	return ret;
}

#define EXPECT_BAD_NAME(error, bad)					\
	EXPECT_EQ(error, bad_name(bad, self->addr, self->len,		\
				  self->names_before))

TEST_F(mshare, bad_names)
{
	char *page = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			  0);
	char big[8192];

	ASSERT_NE(MAP_FAILED, page);
	ASSERT_EQ(0, do_munmap(page + PAGE, PAGE));
	memset(big, 'x', sizeof(big));

	EXPECT_BAD_NAME(-EFAULT, NULL);
	EXPECT_BAD_NAME(-EFAULT, (char *)1);
	EXPECT_BAD_NAME(-EFAULT, (char *)0xffff888000000000UL);
	EXPECT_BAD_NAME(-EFAULT, (char *)0x8000000000000000UL);
	EXPECT_BAD_NAME(-ENOENT, "");
	EXPECT_BAD_NAME(-EINVAL, ".");
	EXPECT_BAD_NAME(-EINVAL, "..");
	EXPECT_BAD_NAME(-EINVAL, "/");
	EXPECT_BAD_NAME(-EINVAL, "/x");
	EXPECT_BAD_NAME(-EINVAL, "a/b");
	EXPECT_BAD_NAME(-EINVAL, "a/");
	EXPECT_BAD_NAME(-EINVAL, "../x");
	/* The string has no end before the end of the page. */
	memset(page, 'x', PAGE);
	EXPECT_BAD_NAME(-EFAULT, page + PAGE - 8);
	/* 256, and longer than any path may be. */
	big[256] = 0;
	EXPECT_BAD_NAME(-ENAMETOOLONG, big);
	big[256] = 'x';
	big[4095] = 0;
	EXPECT_BAD_NAME(-ENAMETOOLONG, big);
	big[4095] = 'x';
	EXPECT_BAD_NAME(-ENAMETOOLONG, big);
}

TEST_F(mshare, odd_names_that_are_right)
{
	static const char * const odd[] = {
		MSHARE_PREFIX "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xa7",
		MSHARE_PREFIX "\x01\x7f\x1b[31m\n", MSHARE_PREFIX "\xff\xfe",
		MSHARE_PREFIX " ", MSHARE_PREFIX "..", MSHARE_PREFIX "\\",
		MSHARE_PREFIX "%s%n",
	};
	char big[256];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(odd); i++) {
		EXPECT_EQ(0, sys_mshare(odd[i], self->addr, self->len,
					O_CREAT | O_EXCL | O_RDWR, 0600));
		EXPECT_EQ(1, region_figure(odd[i], "mshare-sharers"));
		EXPECT_EQ(0, sys_mshare_unlink(odd[i]));
		EXPECT_EQ(self->names_before, region_names(false));
	}
	/* The longest name has 255 characters, the shortest 1. */
	memset(big, 'x', sizeof(big));
	memcpy(big, MSHARE_PREFIX, strlen(MSHARE_PREFIX));
	big[255] = 0;
	EXPECT_EQ(0, sys_mshare(big, self->addr, self->len, O_CREAT | O_RDWR,
				0600));
	EXPECT_EQ(1, region_figure(big, "mshare-sharers"));
	EXPECT_EQ(0, sys_mshare_unlink(big));
	EXPECT_EQ(0, sys_mshare("~", self->addr, self->len, O_CREAT | O_RDWR,
				0600));
	EXPECT_EQ(0, sys_mshare_unlink("~"));
}

TEST_F(mshare, bad_ranges)
{
	unsigned long a = (unsigned long)self->addr, g = self->granule;
	bool la57 = mmap((void *)(1UL << 50), PAGE, PROT_READ, MAP_PRIVATE |
			 MAP_ANONYMOUS, -1, 0) == (void *)(1UL << 50);
	const struct {
		unsigned long addr;
		unsigned long len;
	} bad[] = {
		/* addresses */
		{ 0, g }, { a + 1, g }, { a + PAGE, g }, { a + g / 2, g },
		{ la57 ? (1UL << 56) - g : (1UL << 47) - g, g },
		{ la57 ? 1UL << 56 : 1UL << 47, g },
		{ 0xffff800000000000UL, g }, { -g, g }, { 1UL << 60, g },
		{ a | 1UL << 62, g }, { a | 1UL << 57, g },
		{ 0xfffffffffffff000UL, g },
		/* lengths */
		{ a, 0 }, { a, 1 }, { a, PAGE }, { a, g - 1 }, { a, g + PAGE },
		{ a, g + g / 2 }, { a, 1UL << 63 }, { a, ~0UL }, { a, -g },
		{ a, -a }, { a, -a + g }, { a, (1UL << 57) - a },
		{ a, la57 ? (1UL << 56) - a : (1UL << 47) - a },
	};
	unsigned int i;
	long ret;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ret = sys_mshare(self->name, (void *)bad[i].addr, bad[i].len,
				 O_CREAT | O_RDWR, 0600);
		EXPECT_EQ(-EINVAL, ret)
			TH_LOG("%lx+%lx: %ld", bad[i].addr, bad[i].len, ret);
		EXPECT_EQ(self->names_before, region_names(false));
	}
	/* The same when the name is there to attach to. */
	MAKE_REGION();
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ret = sys_mshare(self->name, (void *)bad[i].addr, bad[i].len,
				 O_RDWR, 0);
		EXPECT_EQ(-EINVAL, ret)
			TH_LOG("%lx+%lx: %ld", bad[i].addr, bad[i].len, ret);
	}
	EXPECT_EQ(0, region_figure(self->name, "mshare-sharers"));
	EXPECT_EQ(0, sys_mshare(self->name, self->addr, self->len, O_RDWR, 0));
}

TEST_F(mshare, bad_flags)
{
	static const int bad[] = {
		O_WRONLY, O_ACCMODE, O_TRUNC, O_RDWR | O_TRUNC, O_RDWR | O_APPEND,
		O_RDWR | O_NONBLOCK, O_RDWR | O_CLOEXEC, O_RDWR | O_DIRECTORY,
		O_RDWR | O_NOFOLLOW, O_RDWR | O_DIRECT, O_PATH, O_TMPFILE,
		O_RDWR | 1 << 30, O_RDWR | 1 << 31, -1,
	};
	unsigned int i;
	long ret;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ret = sys_mshare(self->name, self->addr, self->len,
				 bad[i] | O_CREAT, 0600);
		EXPECT_EQ(-EINVAL, ret)
			TH_LOG("flags %x: %ld", bad[i] | O_CREAT, ret);
		EXPECT_EQ(self->names_before, region_names(false));
	}
	MAKE_REGION();
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ret = sys_mshare(self->name, self->addr, self->len, bad[i], 0);
		EXPECT_EQ(-EINVAL, ret)
			TH_LOG("flags %x: %ld", bad[i], ret);
	}
	EXPECT_EQ(0, region_figure(self->name, "mshare-sharers"));
}

/* Run the rest of the test in a mount namespace of its own. */
static long own_mounts(void)
{
	if (unshare(CLONE_NEWNS))
		return -errno;
	return neg(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

TEST_F(mshare, not_mounted_wrong_fs_ro_mount)
{
	struct peer outside;

	/* A peer that keeps the original mounts. */
	ASSERT_EQ(0, peer_start(&outside));
	ASSERT_EQ(0, own_mounts());
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, KEEP));

	/* A window keeps its file system busy. */
	EXPECT_EQ(-EBUSY, neg(umount(MSHARE_DIR)));

	/*
	 * Read-only: names cannot be made or removed, but windows can be read.
	 */
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	ASSERT_EQ(0, neg(mount(NULL, MSHARE_DIR, NULL, MS_REMOUNT | MS_BIND |
			       MS_RDONLY, NULL)));
	EXPECT_EQ(-EROFS, sys_mshare(self->name2, self->addr + self->len,
				     self->granule, O_CREAT | O_RDWR, 0600));
	EXPECT_EQ(-EROFS, sys_mshare_unlink(self->name));
	EXPECT_EQ(0, sys_mshare(self->name, self->addr, self->len, O_RDONLY,
				0));
	EXPECT_EQ(KEEP, load(self->addr));
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(0, region_figure(self->name, "mshare-sharers"));
	ASSERT_EQ(0, neg(mount(NULL, MSHARE_DIR, NULL, MS_REMOUNT | MS_BIND,
			       NULL)));
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len, O_RDWR, 0));
	EXPECT_EQ(KEEP, load(self->addr));

	/* Another file system in its place. */
	ASSERT_EQ(0, neg(mount("none", MSHARE_DIR, "tmpfs", 0, NULL)));
	EXPECT_EQ(-ENODEV, sys_mshare(self->name2, self->addr + self->len,
				      self->granule, O_CREAT | O_RDWR, 0600));
	EXPECT_EQ(-ENODEV, sys_mshare(self->name2, self->addr + self->len,
				      self->granule, O_RDWR, 0));
	EXPECT_EQ(-ENODEV, sys_mshare_unlink(self->name2));
	EXPECT_EQ(0, region_names(false));
	ASSERT_EQ(0, neg(umount(MSHARE_DIR)));

	/* A directory bind-mounted there. */
	ASSERT_EQ(0, neg(mount("/proc", MSHARE_DIR, NULL, MS_BIND, NULL)));
	EXPECT_EQ(-ENODEV, sys_mshare(self->name2, self->addr + self->len,
				      self->granule, O_CREAT | O_RDWR, 0600));
	ASSERT_EQ(0, neg(umount(MSHARE_DIR)));

	/* Nothing mounted there. */
	ASSERT_EQ(0, neg(umount2(MSHARE_DIR, MNT_DETACH)));
	EXPECT_EQ(-ENODEV, sys_mshare(self->name2, self->addr + self->len,
				      self->granule, O_CREAT | O_RDWR, 0600));
	EXPECT_EQ(-ENODEV, sys_mshare_unlink(self->name2));
	/* Sharers stay sharers. */
	EXPECT_EQ(KEEP, load(self->addr));
	EXPECT_EQ(0, probe_store(self->addr, KEEP + 1));
	/* Other processes have not noticed. */
	EXPECT_EQ(0, peer_call(&outside, pf_mshare, (long)self->name,
			       (long)self->addr, (long)self->len, O_RDWR));
	EXPECT_EQ(KEEP + 1, peer_see(&outside, self->addr));
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(0, peer_stop(&outside));
}

TEST_F(mshare, two_creators_race)
{
	int round, i, status, wins, gate[2];
	const int n = 6;

	for (round = 0; round < scaled(40, 12); round++) {
		bool excl = round & 1;

		wins = 0;
		ASSERT_EQ(0, pipe(gate));
		for (i = 0; i < n; i++) {
			pid_t pid = fork();
			char byte;
			long ret;

			ASSERT_LE(0, pid);
			if (pid)
				continue;
			close(gate[1]);
			if (read(gate[0], &byte, 1))
				_exit(3);
			ret = sys_mshare(self->name, self->addr, self->len,
					 O_CREAT | O_RDWR | (excl ? O_EXCL : 0),
					 0600);
			if (ret == -EEXIST)
				_exit(1);
			if (ret)
				_exit(2);
			/* They all share one region. */
			map_shmem(self->addr + i * MEG, PAGE, RW);
			_exit(probe_store(self->addr + i * MEG, i) ? 4 : 0);
		}
		close(gate[0]);
		close(gate[1]);
		for (i = 0; i < n; i++) {
			ASSERT_LT(0, wait(&status));
			ASSERT_TRUE(WIFEXITED(status));
			ASSERT_GE(1, WEXITSTATUS(status));
			wins += WEXITSTATUS(status) == 0;
		}
		EXPECT_EQ(excl ? 1 : n, wins);
		ASSERT_EQ(0, sys_mshare_unlink(self->name));
	}
}

/* One process, the calls of many threads on one name. */
TEST_F(mshare, create_attach_unlink_race)
{
	long times = scaled(300, 60);
	int i, status;

	for (i = 0; i < 4; i++) {
		pid_t pid = fork();
		long ret, n;

		ASSERT_LE(0, pid);
		if (pid)
			continue;
		for (n = 0; n < times; n++) {
			ret = sys_mshare(self->name, self->addr, self->len,
					 O_CREAT | O_RDWR, 0600);
			if (ret)
				_exit(1);
			map_anon(self->addr + i * MEG, PAGE, RW);
			if (probe_store(self->addr + i * MEG, n) ||
			    load(self->addr + i * MEG) != n)
				_exit(2);
			if (n % 3 == 0)
				unlink(self->path);
			/*
			 * The name may belong to another region, or to no
			 * region.
			 */
			ret = sys_mshare_unlink(self->name);
			if (ret && ret != -ENOENT)
				_exit(3);
			do_munmap(self->addr, self->len);
		}
		_exit(0);
	}
	for (i = 0; i < 4; i++) {
		ASSERT_LT(0, wait(&status));
		EXPECT_EQ(0, status)
			TH_LOG("status %x", status);
	}
	EXPECT_EQ(0, debug_check());
	unlink(self->path);
}

/* If a mapping cannot be donated, it stays where it is. */
TEST_F(mshare, donor_range_refused_kinds)
{
	char *at = self->addr + 8 * MEG;
	long ret;
	int fd;

	/* A device's memory, read-only. */
	fd = open("/dev/mem", O_RDONLY);
	if (fd >= 0 && !map_fd(at, PAGE, PROT_READ, MAP_SHARED, fd, 0xf0000)) {
		EXPECT_EQ(-EOPNOTSUPP, sys_mshare(self->name, self->addr,
						  self->len, O_CREAT | O_RDWR,
						  0600));
		EXPECT_EQ(0, probe_byte(at));
		ASSERT_EQ(0, do_munmap(at, PAGE));
	}
	close(fd);

	/* A sealed mapping cannot be moved. */
	ASSERT_EQ(0, map_anon(at, 2 * PAGE, RW));
	ASSERT_EQ(0, probe_store(at, KEEP));
#ifdef __NR_mseal
	ret = neg(syscall(__NR_mseal, at, 2 * PAGE, 0));
#else
	ret = neg(syscall(462, at, 2 * PAGE, 0));
#endif
	if (!ret) {
		ret = sys_mshare(self->name, self->addr, self->len,
				 O_CREAT | O_RDWR, 0600);
		EXPECT_TRUE(ret == -EPERM || ret == -EOPNOTSUPP)
			TH_LOG("sealed: %ld", ret);
		EXPECT_EQ(KEEP, load(at));
		EXPECT_EQ(0, probe_store(at + PAGE, 1));
	}
	EXPECT_EQ(self->names_before, region_names(false));

	/* The window of another region. */
	at = self->addr + 2 * self->granule;
	ASSERT_EQ(0, sys_mshare(self->name2, at, self->granule,
				O_CREAT | O_RDWR, 0600));
	ret = sys_mshare(self->name, at, self->granule, O_CREAT | O_RDWR, 0600);
	EXPECT_EQ(-EOPNOTSUPP, ret);
	ret = sys_mshare(self->name, at - self->granule, 2 * self->granule,
			 O_CREAT | O_RDWR, 0600);
	EXPECT_EQ(-EOPNOTSUPP, ret);
	EXPECT_EQ(1, region_figure(self->name2, "mshare-sharers"));
	EXPECT_EQ(self->names_before + 1, region_names(false));
}

/* A mapping across the border of the range. */
TEST_F(mshare, donor_mapping_straddles_border)
{
	char *at = self->addr - PAGE;
	long ret;

	ASSERT_EQ(0, map_anon(at, 2 * PAGE, RW));
	ASSERT_EQ(0, probe_store(at, KEEP));
	ASSERT_EQ(0, probe_store(at + PAGE, KEEP));
	ret = sys_mshare(self->name, self->addr, self->len, O_CREAT | O_RDWR,
			 0600);
	/* Without donation, a single mapping makes the call fail. */
	EXPECT_TRUE(ret == -EINVAL || ret == -EOPNOTSUPP)
		TH_LOG("%ld", ret);
	EXPECT_EQ(KEEP, load(at));
	EXPECT_EQ(KEEP, load(at + PAGE));
	EXPECT_EQ(self->names_before, region_names(false));
}

/* An error, whichever of those that mean "not with such a file". */
#define EXPECT_REFUSED(call)						\
do {									\
	long __ret = (call);						\
									\
	EXPECT_TRUE(__ret == -EPERM || __ret == -EOPNOTSUPP ||		\
		    __ret == -EINVAL || __ret == -ENODEV ||		\
		    __ret == -EACCES)					\
		TH_LOG("%s: %ld", #call, __ret);			\
} while (0)

static long map_nowhere(int prot, int flags, int fd)
{
	void *p = mmap(NULL, PAGE, prot, flags, fd, 0);

	return p == MAP_FAILED ? -errno : 0;
}

TEST_F(mshare, region_file_is_no_file)
{
	char path[300], buf[16];
	struct stat st;
	int fd;

	MAKE_REGION();
	fd = region_open(self->name, O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_REFUSED(map_nowhere(PROT_READ, MAP_SHARED, fd));
	EXPECT_REFUSED(map_nowhere(RW, MAP_PRIVATE, fd));
	close(fd);
	fd = region_open(self->name, O_RDWR);
	if (fd >= 0) {
		EXPECT_REFUSED(neg(write(fd, "x", 1)));
		EXPECT_REFUSED(neg(pwrite(fd, "x", 1, 0)));
		EXPECT_REFUSED(neg(ftruncate(fd, 0)));
		EXPECT_REFUSED(neg(ftruncate(fd, 1 << 20)));
		EXPECT_REFUSED(neg(fallocate(fd, 0, 0, PAGE)));
		EXPECT_REFUSED(map_nowhere(RW, MAP_SHARED, fd));
		close(fd);
	}
	EXPECT_REFUSED(neg(truncate(self->path, 0)));
	EXPECT_REFUSED(neg(truncate(self->path, 4096)));
	snprintf(path, sizeof(path), "%s.new", self->path);
	EXPECT_REFUSED(neg(open(path, O_CREAT | O_RDWR, 0600)));
	EXPECT_REFUSED(neg(mkdir(path, 0700)));
	EXPECT_REFUSED(neg(link(self->path, path)));
	EXPECT_REFUSED(neg(symlink(self->path, path)));
	EXPECT_REFUSED(neg(rename(self->path, path)));
	EXPECT_REFUSED(neg(mknod(path, S_IFIFO | 0600, 0)));
	EXPECT_EQ(self->names_before + 1, region_names(false));
	ASSERT_EQ(0, stat(self->path, &st));
	EXPECT_TRUE(S_ISREG(st.st_mode));
	fd = region_open(self->name, O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(16, read(fd, buf, sizeof(buf)));
	close(fd);

	if (!fork()) {
		if (setresuid(65534, 65534, 65534))
			_exit(1);
		if (neg(chmod(self->path, 0666)) != -EPERM ||
		    neg(chown(self->path, 65534, 65534)) != -EPERM ||
		    region_open(self->name, O_RDONLY) != -EACCES)
			_exit(2);
		_exit(0);
	}
	ASSERT_LT(0, wait(&fd));
	EXPECT_EQ(0, fd);
}

/* The calls in which each allocation is made to fail, one after the other. */
enum nth_call {
	NTH_CREATE, NTH_ATTACH, NTH_MMAP, NTH_MMAP_FILE, NTH_FAULT, NTH_SPLIT,
	NTH_MPROTECT, NTH_MREMAP, NTH_MLOCK, NTH_POPULATE, NTH_DETACH,
	NTH_UNLINK, NTH_CALLS,
};

static const char * const nth_name[] = {
	"create", "attach", "mmap", "mmap of a file", "fault",
	"munmap in the midst", "mprotect", "mremap", "mlock", "populate",
	"munmap of the window", "unlink",
};

struct nth_env {
	char *addr;
	size_t len;
	const char *name;
	int fd;			/* a file to map */
};

/* What a call needs first. Return: 0 or an error. */
static long nth_before(enum nth_call call, struct nth_env *e)
{
	long ret;

	if (call == NTH_CREATE)
		return 0;
	ret = sys_mshare(e->name, e->addr, e->len, O_CREAT | O_RDWR, 0600);
	if (ret || call == NTH_MMAP || call == NTH_MMAP_FILE ||
	    call == NTH_DETACH || call == NTH_UNLINK)
		return ret;
	if (call == NTH_ATTACH)
		return do_munmap(e->addr, e->len);
	return map_anon(e->addr, 64 * PAGE, RW);
}

static long nth_do(enum nth_call call, struct nth_env *e)
{
	switch (call) {
	case NTH_CREATE:
		return sys_mshare(e->name, e->addr, e->len, O_CREAT | O_RDWR,
				  0600);
	case NTH_ATTACH:
		return sys_mshare(e->name, e->addr, e->len, O_RDWR, 0);
	case NTH_MMAP:
		return map_shmem(e->addr, MEG, RW);
	case NTH_MMAP_FILE:
		return map_fd(e->addr, PAGE, RW, MAP_SHARED, e->fd, 0);
	case NTH_FAULT:
		/*
		 * With a system call, so that a failure is an error and not a
		 * signal.
		 */
		return neg(syscall(__NR_pipe2, e->addr, 0));
	case NTH_SPLIT:
		return do_munmap(e->addr + 8 * PAGE, 8 * PAGE);
	case NTH_MPROTECT:
		return do_mprotect(e->addr + 8 * PAGE, 8 * PAGE, PROT_READ);
	case NTH_MREMAP:
		return do_mremap(e->addr, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE |
				 MREMAP_FIXED, e->addr + 4 * MEG) < 0 ?
				 -errno : 0;
	case NTH_MLOCK:
		return neg(mlock(e->addr + 8 * PAGE, 8 * PAGE));
	case NTH_POPULATE:
		return do_madvise(e->addr, 32 * PAGE, MADV_POPULATE_WRITE);
	case NTH_DETACH:
		return do_munmap(e->addr, e->len);
	default:
		return sys_mshare_unlink(e->name);
	}
}

/* Everything that a call may have left, whether or not it succeeded. */
static void nth_after(enum nth_call call, struct nth_env *e)
{
	int *fd = (int *)e->addr;

	if (call == NTH_FAULT && !probe_byte(fd) && fd[0] > 2) {
		close(fd[0]);
		close(fd[1]);
	}
	munmap(e->addr, e->len);
	sys_mshare_unlink(e->name);
}

TEST_F(mshare, fail_nth_every_syscall)
{
	struct nth_env e = { self->addr, self->len, self->name, -1 };
	int fd = failnth_open(), n, hits;
	enum nth_call call;
	bool hit;
	long ret;

	if (fd < 0)
		SKIP(return, "no fault injection");
	e.fd = temp_file(PAGE);
	ASSERT_LE(0, e.fd);
	for (call = 0; call < NTH_CALLS; call++) {
		for (n = 1, hits = 0; n < FAILNTH_MAX; n++, hits++) {
			ASSERT_EQ(0, nth_before(call, &e));
			failnth_arm(fd, n);
			ret = nth_do(call, &e);
			hit = failnth_hit(fd);
			/* A failed allocation is either handled or reported. */
			EXPECT_TRUE(!ret || hit)
				TH_LOG("%s: %ld without a reason",
				       nth_name[call], ret);
			EXPECT_TRUE(!ret || ret == -ENOMEM || ret == -EFAULT ||
				    ret == -ENFILE || ret == -EAGAIN ||
				    ret == -ENOSPC)
				TH_LOG("%s, allocation %d: %ld",
				       nth_name[call], n, ret);
			if (ret && call == NTH_CREATE) {
				EXPECT_EQ(-ENOENT, region_open(self->name,
							       O_RDONLY));
				EXPECT_EQ(NULL, self_maps_line(self->addr));
			}
			if (ret && call == NTH_ATTACH) {
				EXPECT_EQ(0, region_figure(self->name,
							   "mshare-sharers"));
				EXPECT_EQ(NULL, self_maps_line(self->addr));
			}
			/* The same call works when repeated. */
			if (ret && call != NTH_FAULT)
				EXPECT_EQ(0, nth_do(call, &e))
					TH_LOG("%s again", nth_name[call]);
			nth_after(call, &e);
			if (!hit)
				break;
		}
		EXPECT_LT(n, FAILNTH_MAX);
		TH_LOG("%s: %d allocations failed", nth_name[call], hits);
		EXPECT_EQ(0, debug_check());
	}
	/* Look for names and regions that the failures may have left. */
	EXPECT_TRUE(WAIT_FOR(debug_regions() <= self->regions_before, 10000));
	close(e.fd);
	close(fd);
}

/* The kernel's check passes over regions of which only a part was created. */
TEST_F(mshare, check_beside_failing_creation)
{
	int fd = failnth_open(), n, hits = 0, status;
	char *at = (char *)(40 * UNIT);
	bool hit = true;
	pid_t pid;
	long err;

	if (fd < 0)
		SKIP(return, "no fault injection: %s", strerror(-fd));
	if (!debug_kernel())
		SKIP(return, "no " MSHARE_DEBUG "check");
	pid = fork();
	ASSERT_LE(0, pid);
	while (!pid)
		if (debug_check())
			_exit(1);
	/* A table for each of many units: most of what can fail. */
	for (n = 1; n < FAILNTH_MAX && hit; n++) {
		failnth_arm(fd, n);
		err = sys_mshare(self->name, at, 64 * UNIT,
				 O_CREAT | O_EXCL | O_RDWR, 0600);
		hit = failnth_hit(fd);
		hits += hit && err == -ENOMEM;
		if (!err)
			ASSERT_EQ(0, sys_mshare_unlink(self->name));
	}
	EXPECT_FALSE(hit);
	EXPECT_LE(64, hits);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	close(fd);
}

/* Many names, none of them shared. */
TEST_F(mshare, many_regions)
{
	int n = scaled(2000, 300), i, made;
	char name[64], path[128];
	long tables = pagetables_kb(), start;

	for (made = 0; made < n; made++) {
		snprintf(name, sizeof(name), MSHARE_PREFIX "many.%d", made);
		ASSERT_EQ(0, sys_mshare(name, self->addr, self->len,
					O_CREAT | O_EXCL | O_RDWR, 0600));
		ASSERT_EQ(0, do_munmap(self->addr, self->len));
	}
	EXPECT_EQ(self->names_before + n, region_names(false));
	/* Each of them is complete. */
	for (i = 0; i < n; i += n / 10) {
		snprintf(name, sizeof(name), MSHARE_PREFIX "many.%d", i);
		ASSERT_EQ(0, sys_mshare(name, self->addr, self->len, O_RDWR,
					0));
		ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
		ASSERT_EQ(0, probe_store(self->addr, i));
		ASSERT_EQ(0, do_munmap(self->addr, self->len));
	}
	start = now_ms();
	for (i = 0; i < n; i++) {
		snprintf(path, sizeof(path), MSHARE_DIR "/" MSHARE_PREFIX
			 "many.%d", i);
		ASSERT_EQ(0, unlink(path));
	}
	EXPECT_TRUE(WAIT_FOR(debug_regions() <= self->regions_before, 20000));
	EXPECT_TRUE(WAIT_FOR(pagetables_kb() - tables < 256, 20000))
		TH_LOG("PageTables +%ld kB",
		       pagetables_kb() - tables);
	TH_LOG("%d regions freed in %ld ms", n, now_ms() - start);
}

/*
 * An address in the region or next to it, often on a border, often unaligned.
 */
static char *fuzz_addr(unsigned int *seed, char *base, size_t len)
{
	static const long edge[] = { 0, 0, 0, PAGE, -PAGE, 1, 2 * MEG };
	long off = edge[rand_r(seed) % ARRAY_SIZE(edge)];

	switch (rand_r(seed) % 8) {
	case 0:
		return base + off;
	case 1:
		return base + len + off;
	case 2:
		return base + len - MEG + off;
	default:
		return base + PAGE * (rand_r(seed) % 2048) +
		       (off == 1 ? 1 : 0);
	}
}

static size_t fuzz_len(unsigned int *seed, size_t len)
{
	switch (rand_r(seed) % 16) {
	case 0:
		return len;
	case 1:
		return len + PAGE;
	case 2:
		return 0;
	case 3:
		return 3;
	case 4:
		return 4 * MEG;
	default:
		return PAGE * (1 + rand_r(seed) % 256);
	}
}

static void fuzz_step(unsigned int *seed, char *base, size_t len,
		      const char *name, int fd)
{
	static const int prot[] = {
		PROT_NONE, PROT_READ, RW, PROT_READ | PROT_EXEC,
		RW | PROT_EXEC,
	};
	char *at = fuzz_addr(seed, base, len), *to;
	size_t size = fuzz_len(seed, len);
	int p = prot[rand_r(seed) % ARRAY_SIZE(prot)];
	unsigned char vec[8];
	pid_t pid;

	switch (rand_r(seed) % 20) {
	case 0:
	case 1:
		map_anon(at, size % (8 * MEG), p);
		break;
	case 2:
		map_shmem(at, size, p);
		break;
	case 3:
		map_fd(at, size % MEG, p, rand_r(seed) & 1 ? MAP_SHARED :
		       MAP_PRIVATE, fd, 0);
		break;
	case 4:
	case 5:
		do_munmap(at, size);
		break;
	case 6:
	case 7:
		do_mprotect(at, size, p);
		break;
	case 8:
		to = fuzz_addr(seed, base, len);
		do_mremap(at, size % MEG, fuzz_len(seed, len) % MEG,
			  rand_r(seed) % 8, to);
		break;
	case 9:
	case 10:
		/* Below HWPOISON's number; some of them populate all of it. */
		if (rand_r(seed) % 8)
			size %= 4 * MEG;
		p = rand_r(seed) % 26;
		if (size > 4 * MEG && (p == MADV_POPULATE_READ ||
				       p == MADV_POPULATE_WRITE))
			break;
		do_madvise(at, size, p);
		break;
	case 11:
		if (rand_r(seed) & 1)
			mlock(at, size % (4 * MEG));
		else
			munlock(at, size);
		break;
	case 12:
		msync(at, size, rand_r(seed) % 8);
		if (size <= 8 * PAGE)
			mincore(at, size, vec);
		break;
	case 13:
		/*
		 * Sometimes detach and attach again, sometimes with other
		 * rights.
		 */
		if (rand_r(seed) % 4 == 0)
			munmap(base, len);
		sys_mshare(name, base, len, rand_r(seed) % 4 ? O_RDWR :
			   O_RDONLY, 0);
		break;
	case 14:
		if (rand_r(seed) % 4)
			break;
		pid = fork();
		if (!pid) {
			probe_store(at, 1);
			do_munmap(at, size);
			_exit(0);
		}
		if (pid > 0)
			waitpid(pid, NULL, 0);
		break;
	case 15:
		if (rand_r(seed) % 8 == 0)
			sys_mshare_unlink(name);
		break;
	default:
		if (rand_r(seed) & 1)
			probe_store(at, (long)at);
		else
			probe_byte(at);
	}
}

/*
 * Random calls with good and bad arguments by several sharers.  Only two things
 * are expected: the region's tables are sound afterwards, and the kernel is
 * alive. MSHARE_SEED repeats a run, MSHARE_FUZZ_MS makes it longer.
 */
TEST_F_TIMEOUT(mshare, random_syscall_fuzz, 3600)
{
	const char *env = getenv("MSHARE_SEED"), *ms = getenv("MSHARE_FUZZ_MS");
	unsigned int seed = env ? strtoul(env, NULL, 0) : (unsigned int)getpid()
			    * 2654435761U ^ (unsigned int)time(NULL);
	long end, steps = 0, *total;
	int i, fd, status;
	struct rlimit rl = { 64 * MEG, 64 * MEG };

	total = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, total);
	fd = temp_file(MEG);
	ASSERT_LE(0, fd);
	TH_LOG("MSHARE_SEED=%u", seed);
	/* Limit locked memory, as the calls do not limit it themselves. */
	setrlimit(RLIMIT_MEMLOCK, &rl);
	MAKE_REGION();
	end = now_ms() + (ms ? atol(ms) : scaled(3000, 6000));
	for (i = 0; i < 3; i++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (pid)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		seed += i * 7919;
		/* For some time, and until enough has happened. */
		while (now_ms() < end || READ_ONCE(*total) < 640) {
			fuzz_step(&seed, self->addr, self->len, self->name, fd);
			if (++steps % 64 == 0) {
				__atomic_add_fetch(total, 64,
						   __ATOMIC_SEQ_CST);
				if (debug_check())
					_exit(1);
			}
		}
		_exit(0);
	}
	for (i = 0; i < 3; i++) {
		ASSERT_LT(0, wait(&status));
		EXPECT_EQ(0, status)
			TH_LOG("status %x with MSHARE_SEED=%u", status, seed);
	}
	TH_LOG("%ld calls", *total);
	EXPECT_LT(500, *total);
	EXPECT_EQ(0, debug_check());
	/* The region can still be used after all of this. */
	if (self_maps_line(self->addr))
		ASSERT_EQ(0, do_munmap(self->addr, self->len));
	unlink(self->path);
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	EXPECT_EQ(0, probe_store(self->addr, 1));
	close(fd);
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
