// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: unsupported operations are refused with clear errors, and permissions
 * decide what each user may do with a region.
 */
#include "mshare_fuse.h"
#include "mshare_helpers.h"

#include <grp.h>
#include <linux/mempolicy.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/shm.h>

#ifndef __NR_mseal
#define __NR_mseal 462
#endif
#ifndef __NR_memfd_secret
#define __NR_memfd_secret 447
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif
#define KVM_CREATE_VM _IO(0xAE, 0x01)

#define KEEP 0xacce55L

/* Each step runs in a child, as it cannot be undone. */
static int in_child(int (*fn)(const char *name, char *addr, size_t len),
		    const char *name, char *addr, size_t len)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(fn(name, addr, len));
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Open a file whose driver keeps page tables. Return: the file or -errno. */
static int open_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;

	if (fd < 0)
		return -errno;
	vm = ioctl(fd, KVM_CREATE_VM, 0);
	vm = vm < 0 ? -errno : vm;
	close(fd);
	return vm;
}

static int open_hmm(void)
{
	int fd = open("/dev/hmm_dmirror0", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static const struct {
	const char *file;
	int (*open)(void);
} second_mmu[] = {
	{ "/dev/kvm", open_kvm }, { "/dev/hmm_dmirror0", open_hmm },
};

/* The one of them that is being tested; for children. */
static int (*open_second)(void);

/* Neither attaching nor creating works, with or without a donation. */
static int notifier_first(const char *name, char *addr, size_t len)
{
	const char *other = MSHARE_PREFIX "notifier_first";
	char *beside = addr + len;
	int status, fd = open_second();
	pid_t pid;

	if (fd < 0)
		return 1;
	if (sys_mshare(name, addr, len, O_RDONLY, 0) != -EBUSY ||
	    sys_mshare(name, addr, len, O_RDWR, 0) != -EBUSY)
		return 2;
	if (sys_mshare(other, beside, len, O_CREAT | O_RDWR, 0600) != -EBUSY)
		return 3;
	if (map_anon(beside, PAGE, RW) || probe_store(beside, KEEP))
		return 4;
	if (sys_mshare(other, beside, len, O_CREAT | O_RDWR, 0600) != -EBUSY ||
	    region_open(other, O_RDONLY) != -ENOENT || load(beside) != KEEP)
		return 5;
	/* A child inherits the file, but no notifier. */
	pid = fork();
	if (!pid)
		_exit(sys_mshare(name, addr, len, O_RDWR, 0) ||
		      load(addr) != KEEP || probe_store(addr + 8, 1));
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		return 6;
	/* If one fails, the other is not affected. */
	if (sys_mshare(name, addr, len, O_RDWR, 0) != -EBUSY)
		return 7;
	close(fd);
	return 0;
}

static int window_first(const char *name, char *addr, size_t len)
{
	int status, fd;
	pid_t pid;

	if (sys_mshare(name, addr, len, O_RDONLY, 0))
		return 1;
	if (open_second() != -EBUSY || open_second() != -EBUSY)
		return 2;
	if (load(addr) != KEEP)
		return 3;
	/* A child is a sharer from the start. */
	pid = fork();
	if (!pid)
		_exit(open_second() != -EBUSY || load(addr) != KEEP);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		return 4;
	/*
	 * After the window is gone it works, and a window is refused instead.
	 */
	if (do_munmap(addr, len))
		return 5;
	fd = open_second();
	if (fd < 0)
		return 6;
	if (sys_mshare(name, addr, len, O_RDWR, 0) != -EBUSY)
		return 7;
	close(fd);
	return 0;
}

static void *open_in_thread(void *go)
{
	while (!READ_ONCE(*(long *)go))
		;
	return (void *)(long)open_second();
}

/* Both at the same time: one of them must fail. */
static int both_at_once(const char *name, char *addr, size_t len)
{
	pthread_t thread;
	long go = 0, ret;
	void *fd;

	if (pthread_create(&thread, NULL, open_in_thread, &go))
		return 1;
	WRITE_ONCE(go, 1);
	ret = sys_mshare(name, addr, len, O_RDWR, 0);
	pthread_join(thread, &fd);
	if (ret && ret != -EBUSY)
		return 2;
	if ((long)fd < 0 && (long)fd != -EBUSY)
		return 3;
	return !ret == ((long)fd >= 0) ? 4 : 0;
}

TEST_F(mshare, notifier_busy)
{
	unsigned int i, j, tried = 0;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, KEEP));
	/*
	 * Each order in a new process, because a notifier stays for the life of
	 * one.
	 */
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	for (i = 0; i < ARRAY_SIZE(second_mmu); i++) {
		if (access(second_mmu[i].file, R_OK | W_OK)) {
			TH_LOG("no %s", second_mmu[i].file);
			continue;
		}
		tried++;
		open_second = second_mmu[i].open;
		EXPECT_EQ(0, in_child(notifier_first, self->name, self->addr,
				      self->len))
			TH_LOG("%s", second_mmu[i].file);
		EXPECT_EQ(0, in_child(window_first, self->name, self->addr,
				      self->len))
			TH_LOG("%s", second_mmu[i].file);
		for (j = 0; j < 20; j++)
			EXPECT_EQ(0, in_child(both_at_once, self->name,
					      self->addr, self->len))
				TH_LOG("%s", second_mmu[i].file);
	}
	EXPECT_EQ(0, region_figure(self->name, "mshare-sharers"));
	if (!tried)
		SKIP(return, "neither KVM nor test_hmm");
}

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC 0x8000
#endif

static int uffd_open_with(__u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

static int uffd_open(void)
{
	return uffd_open_with(0);
}

static long uffd_register_for(int fd, void *addr, size_t len, __u64 mode)
{
	struct uffdio_register reg = {
		.range = { (unsigned long)addr, len },
		.mode = mode,
	};

	return neg(ioctl(fd, UFFDIO_REGISTER, &reg));
}

static long uffd_register(int fd, void *addr, size_t len)
{
	return uffd_register_for(fd, addr, len, UFFDIO_REGISTER_MODE_MISSING);
}

/* Write-protection without messages is for memory of every kind, but for windows. */
TEST_F(mshare, uffd_wp_async_refused)
{
	int fd = uffd_open_with(UFFD_FEATURE_WP_ASYNC);

	if (fd < 0)
		SKIP(return, "no asynchronous write-protection");
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	EXPECT_EQ(-EINVAL, uffd_register_for(fd, self->addr, self->len,
					     UFFDIO_REGISTER_MODE_WP));
	EXPECT_EQ(-EINVAL, uffd_register_for(fd, self->addr, MEG,
					     UFFDIO_REGISTER_MODE_WP));
	EXPECT_EQ(0, probe_store(self->addr, 1));
	close(fd);
}

TEST_F(mshare, uffd_refused)
{
	char *below = self->addr - MEG;
	int fd = uffd_open();

	if (fd < 0)
		SKIP(return, "no userfaultfd");
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, map_anon(below, MEG, RW));
	EXPECT_EQ(-EINVAL, uffd_register(fd, self->addr, MEG));
	EXPECT_EQ(-EINVAL, uffd_register(fd, self->addr, self->len));
	EXPECT_EQ(-EINVAL, uffd_register(fd, below, 2 * MEG));
	EXPECT_EQ(-EINVAL, uffd_register(fd, self->addr + 8 * MEG, MEG));
	/* A fault without a handler must not block. */
	EXPECT_EQ(0, probe_store(self->addr, 1));
	EXPECT_EQ(0, probe_store(below, 1));
	EXPECT_EQ(0, uffd_register(fd, below, MEG));
	close(fd);
}

/* EINVAL or EOPNOTSUPP, whichever the call uses for unsuitable memory. */
#define EXPECT_UNSUPPORTED(call)					\
do {									\
	long __ret = (call);						\
									\
	EXPECT_TRUE(__ret == -EOPNOTSUPP || __ret == -EINVAL)		\
		TH_LOG("%s: %ld", #call, __ret);			\
} while (0)

TEST_F(mshare, mseal_pkey_refused)
{
	int key, shm;
	long ret;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, probe_store(self->addr, KEEP));

	ret = neg(syscall(__NR_mseal, self->addr, PAGE, 0));
	EXPECT_EQ(-EOPNOTSUPP, ret);
	ret = neg(syscall(__NR_mseal, self->addr, self->len, 0));
	EXPECT_EQ(-EOPNOTSUPP, ret);
	ret = neg(syscall(__NR_mseal, self->addr - PAGE, self->len, 0));
	EXPECT_GT(0, ret);
	EXPECT_EQ(0, do_mprotect(self->addr, PAGE, RW));

	key = syscall(__NR_pkey_alloc, 0, 0);
	if (key >= 0) {
		ret = neg(syscall(__NR_pkey_mprotect, self->addr, PAGE, RW,
				  key));
		EXPECT_TRUE(ret == -EOPNOTSUPP || ret == -EINVAL)
			TH_LOG("pkey_mprotect: %ld", ret);
		syscall(__NR_pkey_free, key);
	} else {
		TH_LOG("no protection keys");
	}
	ret = neg(syscall(__NR_pkey_mprotect, self->addr, PAGE, RW, -1));
	EXPECT_TRUE(ret == 0 || ret == -ENOSYS)
		TH_LOG("pkey_mprotect without a key: %ld", ret);

	/* remap_file_pages() and shmat() over the window. */
	EXPECT_UNSUPPORTED(neg(syscall(__NR_remap_file_pages, self->addr, PAGE,
				       0, 0, 0)));
	shm = shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0600);
	if (shm >= 0) {
		EXPECT_EQ((void *)-1, shmat(shm, self->addr, 0));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ((void *)-1, shmat(shm, self->addr, SHM_REMAP));
		shmctl(shm, IPC_RMID, NULL);
	}
	/* Nor over the whole window. */
	shm = shmget(IPC_PRIVATE, self->len, IPC_CREAT | SHM_NORESERVE | 0600);
	if (shm >= 0) {
		EXPECT_EQ((void *)-1, shmat(shm, self->addr, SHM_REMAP));
		EXPECT_EQ(EINVAL, errno);
		shmctl(shm, IPC_RMID, NULL);
	} else {
		TH_LOG("no segment of that size");
	}
	EXPECT_EQ(KEEP, load(self->addr));
	EXPECT_EQ(0, probe_store(self->addr, KEEP));
	EXPECT_EQ(0, do_munmap(self->addr, MEG));
	EXPECT_EQ(0, debug_check());
}

TEST_F(mshare, hugetlb_dax_dev_refused)
{
	char *at = self->addr + 8 * MEG;
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
	};
	long ret;
	int fd;

	MAKE_REGION();
	ret = map_fd(at, 2 * MEG, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
		     -1, 0);
	EXPECT_TRUE(ret == -EOPNOTSUPP || ret == -ENOMEM || ret == -EINVAL)
		TH_LOG("MAP_HUGETLB: %ld", ret);
	EXPECT_EQ(SIGBUS, probe_byte(at));
	ret = map_fd(at, 2 * MEG, RW, MAP_PRIVATE | MAP_ANONYMOUS |
		     MAP_GROWSDOWN, -1, 0);
	EXPECT_EQ(-EOPNOTSUPP, ret);
	EXPECT_EQ(SIGBUS, probe_byte(at));
	/* A type that is new in 6.11: older kernels return EINVAL. */
	ret = map_fd(at, 2 * MEG, RW, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0);
	EXPECT_UNSUPPORTED(ret);
	EXPECT_EQ(SIGBUS, probe_byte(at));

	fd = open("/dev/mem", O_RDONLY);
	if (fd >= 0) {
		EXPECT_EQ(-EOPNOTSUPP, map_fd(at, PAGE, PROT_READ, MAP_SHARED,
					      fd, 0xf0000));
		close(fd);
		EXPECT_EQ(SIGBUS, probe_byte(at));
	}
	fd = open("/dev/zero", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EOPNOTSUPP, map_fd(at, PAGE, RW, MAP_PRIVATE, fd, 0));
	EXPECT_EQ(-EOPNOTSUPP, map_fd(at, PAGE, RW, MAP_SHARED, fd, 0));
	close(fd);
	EXPECT_EQ(SIGBUS, probe_byte(at));

	fd = syscall(__NR_memfd_secret, 0);
	if (fd >= 0) {
		EXPECT_EQ(0, ftruncate(fd, PAGE));
		EXPECT_EQ(-EOPNOTSUPP, map_fd(at, PAGE, RW, MAP_SHARED, fd, 0));
		close(fd);
		EXPECT_EQ(SIGBUS, probe_byte(at));
	}
	fd = syscall(__NR_perf_event_open, &attr, 0, -1, -1, 0);
	if (fd >= 0) {
		EXPECT_EQ(-EOPNOTSUPP, map_fd(at, 2 * PAGE, RW, MAP_SHARED, fd,
					      0));
		close(fd);
		EXPECT_EQ(SIGBUS, probe_byte(at));
	}
	/* The region's own file, and the file of another region. */
	fd = region_open(self->name, O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_GT(0, map_fd(at, PAGE, PROT_READ, MAP_SHARED, fd, 0));
	close(fd);
	EXPECT_EQ(SIGBUS, probe_byte(at));
	/* A file that is only memory works as well as a file on a disk. */
	fd = memfd_create("mshare", 0);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, ftruncate(fd, PAGE));
	EXPECT_EQ(0, map_fd(at, PAGE, RW, MAP_SHARED, fd, 0));
	EXPECT_EQ(0, probe_store(at, 1));
	close(fd);
	EXPECT_EQ(0, debug_check());
}

/* The result of creating a region over a mapping. */
static long donate_file(const char *name, char *addr, size_t len, int flags,
			int fd)
{
	long ret = map_fd(addr, PAGE, PROT_READ, flags, fd, 0);

	if (ret)
		return ret;
	ret = sys_mshare(name, addr, len, O_CREAT | O_EXCL | O_RDWR, 0600);
	if (!ret)
		ret = sys_mshare_unlink(name) ?: 1;
	munmap(addr, PAGE);
	return ret;
}

/*
 * A program that serves a file's pages could make sharers wait that know
 * nothing of that file. So no such file can be mapped, in whatever way.
 */
TEST_F(mshare, fuse_refused)
{
	static const char * const files[] = { "cached", "direct" };
	static const int flags[] = { MAP_SHARED, MAP_PRIVATE };
	char *there = self->addr + 2 * self->granule, *at = self->addr + MEG;
	struct fuse f;
	int fd, i, j;

	if (fuse_start(&f))
		SKIP(return, "no FUSE");
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(at, PAGE, RW));
	ASSERT_EQ(0, probe_store(at, KEEP));
	for (i = 0; i < 2; i++) {
		fd = fuse_open_file(&f, files[i], O_RDWR);
		ASSERT_LE(0, fd);
		for (j = 0; j < 2; j++) {
			long ret = map_fd(at, PAGE, PROT_READ, flags[j], fd, 0);

			EXPECT_EQ(-EOPNOTSUPP, ret)
				TH_LOG("%s, flags %x", files[i], flags[j]);
			EXPECT_EQ(KEEP, load(at));
			ret = map_fd(at + MEG, PAGE, PROT_READ, flags[j], fd, 0);
			EXPECT_EQ(-EOPNOTSUPP, ret)
				TH_LOG("%s, flags %x", files[i], flags[j]);
			EXPECT_EQ(SIGBUS, probe_byte(at + MEG));
			/*
			 * The kernel does not map shared pages of a file with
			 * direct I/O.
			 */
			ret = donate_file(self->name2, there, self->len,
					  flags[j], fd);
			if (ret != -ENODEV)
				EXPECT_EQ(-EOPNOTSUPP, ret)
					TH_LOG("%s, flags %x, donated",
					       files[i], flags[j]);
		}
		close(fd);
	}
	fuse_stop(&f);
	EXPECT_EQ(0, debug_check());
}

static long spew_new(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	close(fd);
	return spew(path, text);
}

/* A file of an overlay is judged by the file below it. */
TEST_F(mshare, overlay_file_goes_by_what_is_below)
{
	char dir[] = "/tmp/mshare-overlay-XXXXXX", path[128], opts[512];
	char *at = self->addr + MEG;
	int fd;

	ASSERT_NE(NULL, mkdtemp(dir));
	ASSERT_EQ(0, neg(mount("mshare-test", dir, "tmpfs", 0, NULL)));
	snprintf(path, sizeof(path), "%s/l", dir);
	ASSERT_EQ(0, mkdir(path, 0700));
	snprintf(path, sizeof(path), "%s/l/file", dir);
	ASSERT_EQ(0, spew_new(path, "below"));
	snprintf(path, sizeof(path), "%s/u", dir);
	ASSERT_EQ(0, mkdir(path, 0700));
	snprintf(path, sizeof(path), "%s/w", dir);
	ASSERT_EQ(0, mkdir(path, 0700));
	snprintf(path, sizeof(path), "%s/m", dir);
	ASSERT_EQ(0, mkdir(path, 0700));
	snprintf(opts, sizeof(opts), "lowerdir=%s/l,upperdir=%s/u,workdir=%s/w",
		 dir, dir, dir);
	if (mount("mshare-test", path, "overlay", 0, opts)) {
		umount2(dir, MNT_DETACH);
		rmdir(dir);
		SKIP(return, "no overlay");
	}
	strcat(path, "/file");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	MAKE_REGION();
	EXPECT_EQ(0, map_fd(at, PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
	ASSERT_EQ(0, probe_byte(at));
	EXPECT_EQ('b', *at);
	EXPECT_EQ(1, donate_file(self->name2, self->addr + 2 * self->granule,
				 self->len, MAP_PRIVATE, fd));
	close(fd);
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(WAIT_FOR(debug_regions() <= self->regions_before, 10000));
	snprintf(path, sizeof(path), "%s/m", dir);
	umount2(path, MNT_DETACH);
	umount2(dir, MNT_DETACH);
	rmdir(dir);
	EXPECT_EQ(0, debug_check());
}

static int called;

/* A uprobe in a file that a region maps must not trap in the region. */
/* A system call as a 32-bit program makes it; -ENXIO if that is impossible. */
static long int80(long nr, long a, long b, long c)
{
	long ret = -ENXIO;

	if (PROBE(asm volatile("int $0x80"
			       : "=a" (ret)
			       : "a" (nr), "b" (a), "c" (b), "d" (c), "S" (0L),
				 "D" (0L)
			       : "memory", "r8", "r9", "r10", "r11")))
		return -ENXIO;
	return (int)ret;
}

/* Only for 64-bit programs: others cannot address a window. */
TEST_F(mshare, not_for_other_abis)
{
	static const int calls[] = { __NR_mshare, __NR_mshare_unlink };
	const long x32 = 0x40000000, getpid32 = 20;
	char *name;
	unsigned int i;

	MAKE_REGION();
	/* In an address range that fits into an int. */
	name = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1,
		    0);
	ASSERT_NE(MAP_FAILED, name);
	memcpy(name, self->name, sizeof(self->name));
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		EXPECT_EQ(-ENOSYS, neg(syscall(x32 | calls[i], name, 0, 0, 0,
					       0)));
	if (int80(getpid32, 0, 0, 0) == getpid()) {
		for (i = 0; i < ARRAY_SIZE(calls); i++)
			EXPECT_EQ(-ENOSYS, int80(calls[i], (long)name, 0, 0));
	} else {
		TH_LOG("no 32-bit system calls here");
	}
	EXPECT_EQ(0, access(self->path, F_OK));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
}

TEST_F(mshare, uprobe_no_sigtrap)
{
	/* mov $42, %eax; ret */
	static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 };
	char path[] = "/tmp/mshare-uprobe-XXXXXX";
	struct perf_event_attr attr = { .size = sizeof(attr) };
	int (*fn)(void) = (void *)self->addr;
	__u64 count = 0;
	char type[32];
	int fd, perf;
	char *own;

	if (slurp("/sys/bus/event_source/devices/uprobe/type", type,
		  sizeof(type)) <= 0)
		SKIP(return, "no uprobes");
	fd = mkostemp(path, O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fchmod(fd, 0700));
	ASSERT_EQ(0, ftruncate(fd, PAGE));
	ASSERT_EQ((ssize_t)sizeof(code), pwrite(fd, code, sizeof(code), 0));
	MAKE_REGION();
	ASSERT_EQ(0, map_fd(self->addr, PAGE, PROT_READ | PROT_EXEC,
			    MAP_PRIVATE, fd, 0));
	EXPECT_EQ(0, PROBE(called = fn()));
	EXPECT_EQ(42, called);

	attr.type = atoi(type);
	attr.config1 = (unsigned long)path;
	attr.config2 = 0;
	perf = syscall(__NR_perf_event_open, &attr, 0, -1, -1, 0);
	if (perf < 0) {
		unlink(path);
		SKIP(return, "perf_event_open: %s", strerror(errno));
	}
	/* In a mapping outside of the region the probe is hit ... */
	own = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, own);
	EXPECT_EQ(42, ((int (*)(void))own)());
	EXPECT_EQ((ssize_t)sizeof(count), read(perf, &count, sizeof(count)));
	EXPECT_EQ(1ULL, count);
	/*
	 * ... and in the window, mapped before or after it, there is no probe.
	 */
	called = 0;
	EXPECT_EQ(0, PROBE(called = fn()));
	EXPECT_EQ(42, called);
	ASSERT_EQ(0, map_fd(self->addr, PAGE, PROT_READ | PROT_EXEC,
			    MAP_PRIVATE, fd, 0));
	called = 0;
	EXPECT_EQ(0, PROBE(called = fn()));
	EXPECT_EQ(42, called);
	EXPECT_EQ(0xb8, *(unsigned char *)self->addr);
	close(perf);
	close(fd);
	unlink(path);
}

/* Change the user permanently; for peers. */
PEER_FN(pf_become)
{
	gid_t extra = c;

	PEER_UNUSED();
	if (setgroups(c ? 1 : 0, &extra) || setresgid(b, b, b) ||
	    setresuid(a, a, a))
		return -errno;
	return 0;
}

PEER_FN(pf_unlink_file)
{
	PEER_UNUSED();
	return neg(unlink((const char *)a));
}

PEER_FN(pf_umask)
{
	PEER_UNUSED();
	umask(a);
	return 0;
}

/* Attach and detach again at once. Return: the result of attaching. */
PEER_FN(pf_try)
{
	long ret = sys_mshare((const char *)a, (void *)b, c, d, 0);

	PEER_UNUSED();
	if (!ret)
		ret = do_munmap((void *)b, c);
	return ret;
}

TEST_F(mshare, perm_modes)
{
	static const struct {
		int mode;
		/*
		 * what owner, group, extra group and others may do: 1 r, 2 rw
		 */
		int may[4];
	} row[] = {
		{ 0600, { 2, 0, 0, 0 } },
		{ 0400, { 1, 0, 0, 0 } },
		{ 0640, { 2, 1, 1, 0 } },
		{ 0664, { 2, 2, 2, 1 } },
		{ 0666, { 2, 2, 2, 2 } },
		{ 0066, { 0, 2, 2, 2 } },
		{ 0604, { 2, 0, 0, 1 } },
		/* Write access to a region requires read permission. */
		{ 0222, { 0, 0, 0, 0 } },
		{ 0000, { 0, 0, 0, 0 } },
	};
	static const struct {
		int uid;
		int gid;
		int extra;
	} who[4] = {
		{ 1001, 2001, 0 }, { 1002, 2000, 0 }, { 1003, 2003, 2000 },
		{ 1004, 2004, 0 },
	};
	struct peer p[4];
	unsigned int i, j;
	long rw, ro;

	for (j = 0; j < 4; j++) {
		ASSERT_EQ(0, peer_start(&p[j]));
		ASSERT_EQ(0, peer_call(&p[j], pf_become, who[j].uid,
				       who[j].gid, who[j].extra));
	}
	MAKE_REGION();
	ASSERT_EQ(0, chown(self->path, 1001, 2000));
	for (i = 0; i < ARRAY_SIZE(row); i++) {
		ASSERT_EQ(0, chmod(self->path, row[i].mode));
		for (j = 0; j < 4; j++) {
			ro = peer_call(&p[j], pf_try, (long)self->name,
				       (long)self->addr, (long)self->len,
				       O_RDONLY);
			rw = peer_call(&p[j], pf_try, (long)self->name,
				       (long)self->addr, (long)self->len,
				       O_RDWR);
			EXPECT_EQ(row[i].may[j] >= 1 ? 0 : -EACCES, ro)
				TH_LOG("mode %o, who %u", row[i].mode, j);
			EXPECT_EQ(row[i].may[j] >= 2 ? 0 : -EACCES, rw)
				TH_LOG("mode %o, who %u", row[i].mode, j);
		}
	}
	/* Modes do not restrict root. */
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(0, sys_mshare(self->name, self->addr, self->len, O_RDWR, 0));
	for (j = 0; j < 4; j++)
		EXPECT_EQ(0, peer_stop(&p[j]));
}

PEER_FN(pf_set_fs_ids)
{
	PEER_UNUSED();
	setfsgid(b);
	setfsuid(a);
	/* Without an error, they tell the present ids. */
	return setfsuid(-1) == a && setfsgid(-1) == b ? 0 : -EPERM;
}

/* The file belongs to fsuid and fsgid, and these decide who may attach. */
TEST_F(mshare, owner_is_fsuid)
{
	struct peer owner, other;
	struct stat dir, st;

	ASSERT_EQ(0, stat(MSHARE_DIR, &dir));
	ASSERT_EQ(0, peer_start(&owner));
	ASSERT_EQ(0, peer_start(&other));
	ASSERT_EQ(0, peer_call(&owner, pf_set_fs_ids, 1001, 2001));
	ASSERT_EQ(0, peer_call(&other, pf_set_fs_ids, 1002, 2002));
	EXPECT_EQ(-EACCES, peer_call(&owner, pf_mshare, (long)self->name,
				     (long)self->addr, (long)self->len,
				     O_CREAT | O_RDWR, 0600));
	ASSERT_EQ(0, chmod(MSHARE_DIR, 0777));
	EXPECT_EQ(0, peer_call(&owner, pf_mshare, (long)self->name,
			       (long)self->addr, (long)self->len,
			       O_CREAT | O_RDWR, 0600));
	ASSERT_EQ(0, chmod(MSHARE_DIR, dir.st_mode & 07777));
	ASSERT_EQ(0, stat(self->path, &st));
	EXPECT_EQ(1001U, st.st_uid);
	EXPECT_EQ(2001U, st.st_gid);
	EXPECT_EQ(-EACCES, peer_call(&other, pf_mshare, (long)self->name,
				     (long)self->addr, (long)self->len,
				     O_RDONLY));
	ASSERT_EQ(0, peer_call(&other, pf_set_fs_ids, 1001, 2002));
	EXPECT_EQ(0, peer_call(&other, pf_mshare, (long)self->name,
			       (long)self->addr, (long)self->len, O_RDWR));
	EXPECT_EQ(0, peer_stop(&owner));
	EXPECT_EQ(0, peer_stop(&other));
}

TEST_F(mshare, perm_modes_uids_sticky)
{
	struct peer owner, other;
	struct stat dir, st;

	ASSERT_EQ(0, stat(MSHARE_DIR, &dir));
	ASSERT_EQ(0, peer_start(&owner));
	ASSERT_EQ(0, peer_start(&other));
	ASSERT_EQ(0, peer_call(&owner, pf_become, 1001, 2001, 0));
	ASSERT_EQ(0, peer_call(&other, pf_become, 1002, 2002, 0));

	/* As mounted: the root directory belongs to root. */
	EXPECT_EQ(-EACCES, peer_call(&owner, pf_mshare, (long)self->name,
				     (long)self->addr, (long)self->len,
				     O_CREAT | O_RDWR, 0666));
	EXPECT_EQ(self->names_before, region_names(false));

	/*
	 * Open to everyone without the sticky bit: every user may also unlink.
	 */
	ASSERT_EQ(0, chmod(MSHARE_DIR, 0777));
	EXPECT_EQ(0, peer_call(&owner, pf_umask, 022));
	EXPECT_EQ(0, peer_call(&owner, pf_mshare, (long)self->name,
			       (long)self->addr, (long)self->len,
			       O_CREAT | O_RDWR, 0666));
	EXPECT_EQ(0, stat(self->path, &st));
	EXPECT_EQ(1001U, st.st_uid);
	EXPECT_EQ(2001U, st.st_gid);
	EXPECT_EQ(0644, (int)st.st_mode & 07777);
	EXPECT_EQ(0, peer_call(&other, pf_unlink, (long)self->name));
	EXPECT_EQ(-ENOENT, region_open(self->name, O_RDONLY));
	EXPECT_EQ(0, peer_munmap(&owner, self->addr, self->len));

	/* With the sticky bit: only the owner and root. */
	ASSERT_EQ(0, chmod(MSHARE_DIR, 01777));
	EXPECT_EQ(0, peer_call(&owner, pf_mshare, (long)self->name,
			       (long)self->addr, (long)self->len,
			       O_CREAT | O_RDWR, 0666));
	EXPECT_EQ(-EPERM, peer_call(&other, pf_unlink, (long)self->name));
	EXPECT_EQ(-EPERM, peer_call(&other, pf_unlink_file, (long)self->path));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
	/* A sharer may detach at any time, and the call succeeds. */
	EXPECT_EQ(0, peer_munmap(&owner, self->addr, self->len));
	EXPECT_EQ(0, peer_call(&other, pf_mshare, (long)self->name,
			       (long)self->addr, (long)self->len, O_RDONLY));
	EXPECT_EQ(0, peer_call(&other, pf_unlink, (long)self->name));
	EXPECT_EQ(SIGSEGV, peer_load(&other, self->addr));
	EXPECT_EQ(0, region_figure(self->name, "mshare-sharers"));
	EXPECT_EQ(-EPERM, peer_call(&other, pf_unlink, (long)self->name));
	EXPECT_EQ(0, peer_call(&owner, pf_unlink, (long)self->name));
	EXPECT_EQ(-ENOENT, region_open(self->name, O_RDONLY));

	/* Read-only again: a sharer detaches, the name stays. */
	EXPECT_EQ(0, peer_call(&owner, pf_mshare, (long)self->name,
			       (long)self->addr, (long)self->len,
			       O_CREAT | O_RDWR, 0666));
	ASSERT_EQ(0, chmod(MSHARE_DIR, dir.st_mode & 07777));
	EXPECT_EQ(0, peer_call(&owner, pf_unlink, (long)self->name));
	EXPECT_EQ(-EACCES, peer_call(&owner, pf_unlink, (long)self->name));
	EXPECT_EQ(0, region_figure(self->name, "mshare-sharers"));

	/* Without search permission the name cannot be used. */
	ASSERT_EQ(0, chmod(MSHARE_DIR, 0700));
	EXPECT_EQ(-EACCES, peer_call(&owner, pf_mshare, (long)self->name,
				     (long)self->addr, (long)self->len,
				     O_RDWR));
	EXPECT_EQ(-EACCES, peer_call(&owner, pf_unlink, (long)self->name));
	ASSERT_EQ(0, chmod(MSHARE_DIR, dir.st_mode & 07777));
	EXPECT_EQ(0, peer_stop(&owner));
	EXPECT_EQ(0, peer_stop(&other));
}

#define JAIL "/tmp/mshare-jail"

static int jailed_without(const char *name, char *addr, size_t len)
{
	if (chroot(JAIL) || chdir("/"))
		return 1;
	if (sys_mshare(name, addr, len, O_RDWR, 0) != -ENODEV)
		return 2;
	if (sys_mshare(name, addr, len, O_CREAT | O_RDWR, 0600) != -ENODEV)
		return 3;
	if (sys_mshare_unlink(name) != -ENODEV)
		return 4;
	/* Permission for the directory alone is not enough. */
	if (mkdir("/sys", 0755) || mkdir("/sys/fs", 0755) ||
	    mkdir("/sys/fs/mshare", 0755))
		return 5;
	if (sys_mshare(name, addr, len, O_RDWR, 0) != -ENODEV)
		return 6;
	return 0;
}

static int jailed_with(const char *name, char *addr, size_t len)
{
	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount(MSHARE_DIR, JAIL MSHARE_DIR, NULL, MS_BIND, NULL))
		return 1;
	if (chroot(JAIL) || chdir("/"))
		return 2;
	if (sys_mshare(name, addr, len, O_RDWR, 0))
		return 3;
	if (load(addr) != KEEP)
		return 4;
	return 0;
}

static int unmounted(const char *name, char *addr, size_t len)
{
	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    umount2(MSHARE_DIR, MNT_DETACH))
		return 1;
	if (sys_mshare(name, addr, len, O_RDWR, 0) != -ENODEV)
		return 2;
	if (sys_mshare_unlink(name) != -ENODEV)
		return 3;
	/* There is only one instance: a second mount shows the same. */
	if (mount("msharefs", MSHARE_DIR, "msharefs", 0, NULL))
		return 4;
	if (sys_mshare(name, addr, len, O_RDWR, 0))
		return 5;
	return load(addr) == KEEP ? 0 : 6;
}

/* The root of a user namespace has no rights over the file system. */
static int user_ns(const char *name, char *addr, size_t len)
{
	if (setresgid(1001, 1001, 1001) || setresuid(1001, 1001, 1001))
		return 1;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return errno == EINVAL || errno == ENOSPC || errno == EPERM ?
		       0 : 2;
	if (mount("msharefs", "/tmp", "msharefs", 0, NULL) != -1)
		return 3;
	if (sys_mshare(name, addr, len, O_RDWR, 0) != -EACCES)
		return 4;
	return 0;
}

TEST_F(mshare, chroot_and_mntns_isolation)
{
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, KEEP));
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	mkdir(JAIL, 0755);
	EXPECT_EQ(0, in_child(jailed_without, self->name, self->addr,
			      self->len));
	EXPECT_EQ(0, in_child(jailed_with, self->name, self->addr, self->len));
	EXPECT_EQ(0, in_child(unmounted, self->name, self->addr, self->len));
	EXPECT_EQ(0, in_child(user_ns, self->name, self->addr, self->len));
	rmdir(JAIL "/sys/fs/mshare");
	rmdir(JAIL "/sys/fs");
	rmdir(JAIL "/sys");
	EXPECT_EQ(0, rmdir(JAIL));
	EXPECT_EQ(0, sys_mshare(self->name, self->addr, self->len, O_RDWR, 0));
	EXPECT_EQ(KEEP, load(self->addr));
}

TEST_F(mshare, mount_options)
{
	struct stat st;

	ASSERT_EQ(0, unshare(CLONE_NEWNS));
	ASSERT_EQ(0, neg(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)));
	EXPECT_EQ(-EINVAL, neg(mount("msharefs", "/tmp", "msharefs", 0,
				     "mode=9")));
	EXPECT_EQ(-EINVAL, neg(mount("msharefs", "/tmp", "msharefs", 0,
				     "nonsense=1")));
	EXPECT_EQ(-EINVAL, neg(mount("msharefs", "/tmp", "msharefs", 0,
				     "uid=-1")));
	ASSERT_EQ(0, stat(MSHARE_DIR, &st));
	EXPECT_TRUE(S_ISDIR(st.st_mode));
	EXPECT_EQ(0755, (int)st.st_mode & 07777);
	EXPECT_EQ(0U, st.st_uid);
	EXPECT_EQ(0U, st.st_gid);
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
