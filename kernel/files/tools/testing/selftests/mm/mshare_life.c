// SPDX-License-Identifier: GPL-2.0-only
/* mshare: creation and removal of regions, and what can delay them. */
#include "mshare_fuse.h"
#include "mshare_helpers.h"

#include <poll.h>
#include <pthread.h>

static long used_kb(void)
{
	return meminfo_kb("AnonPages") + meminfo_kb("Shmem");
}

/* Fill the test's region. Return: the memory that it takes, in kB. */
static long fill_region(char *addr, size_t len)
{
	long before = used_kb();

	if (map_anon(addr, len / 2, RW) ||
	    map_shmem(addr + len / 2, len / 2, RW) ||
	    do_madvise(addr, len, MADV_POPULATE_WRITE))
		return -1;
	return used_kb() - before;
}

/* --------------------------------------- regions without a name and sharers */

/* Memory of programs that ran before may still be on its way back. */
static long settled_kb(void)
{
	long before, used = used_kb();
	int i;

	for (i = 0; i < 50; i++) {
		before = used;
		usleep(100000);
		used = used_kb();
		if (labs(used - before) < 256)
			break;
	}
	return used;
}

/* O_PATH needs no permission, so it must not keep a region's memory. */
TEST_F(mshare, open_file_holds_no_memory)
{
	static const int flags[] = { O_PATH, O_RDONLY, O_RDWR };
	size_t len = scaled(32, 8) * MEG;
	long used, tables, kb;
	char fdinfo[64];
	struct region_info info;
	struct pollfd p = { .events = POLLPRI };
	int fd, i;

	for (i = 0; i < 3; i++) {
		tables = pagetables_kb();
		used = settled_kb();
		MAKE_REGION();
		kb = fill_region(self->addr, len);
		ASSERT_LT((long)(len / 1024 * 9 / 10), kb);
		fd = open(self->path, flags[i] | O_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, sys_mshare_unlink(self->name));
		EXPECT_EQ(-ENOENT, sys_mshare(self->name, self->addr, self->len,
					      O_RDWR, 0));
		EXPECT_TRUE(WAIT_FOR(used_kb() - used < kb / 8, 20000))
			TH_LOG("flags %o: %ld kB of %ld kB still in use",
			       flags[i], used_kb() - used, kb);
		EXPECT_TRUE(WAIT_FOR(pagetables_kb() - tables < 64, 10000));
		if (flags[i] == O_PATH) {
			close(fd);
			continue;
		}
		/* What remains can still be read, but shows little. */
		snprintf(fdinfo, sizeof(fdinfo), "/proc/self/fdinfo/%d", fd);
		EXPECT_EQ(0, figure(fdinfo, "mshare-sharers"));
		EXPECT_EQ(0, figure(fdinfo, "mshare-resident-kb"));
		EXPECT_EQ(0, figure(fdinfo, "mshare-pgtables-kb"));
		ASSERT_EQ((ssize_t)sizeof(info), read(fd, &info, sizeof(info)));
		EXPECT_EQ((unsigned long)self->addr, info.start);
		EXPECT_EQ(self->len, info.size);
		p.fd = fd;
		EXPECT_EQ(1, poll(&p, 1, 10000));
		EXPECT_TRUE(p.revents & POLLHUP);
		if (debug_kernel())
			EXPECT_EQ(self->regions_before + 1, debug_regions());
		EXPECT_EQ(0, debug_check());
		close(fd);
	}
	EXPECT_TRUE(WAIT_FOR(debug_regions() <= self->regions_before, 10000));
}

/* A sharer keeps the contents, and so does its child, whichever exits first. */
TEST_F(mshare, fork_vs_unlink_storm)
{
	int round, status, gate[2];
	pid_t pid;
	char c;

	for (round = 0; round < scaled(200, 40); round++) {
		MAKE_REGION();
		ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
		ASSERT_EQ(0, probe_store(self->addr, round));
		ASSERT_EQ(0, pipe(gate));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			close(gate[1]);
			if (read(gate[0], &c, 1))
				_exit(1);
			/*
			 * The last sharer, or nearly the last: the name may
			 * still be removed.
			 */
			if (load(self->addr) != round)
				_exit(2);
			if (probe_store(self->addr + PAGE, round))
				_exit(3);
			_exit(load(self->addr + PAGE) == round ? 0 : 4);
		}
		close(gate[0]);
		if (round & 1)
			ASSERT_EQ(0, unlink(self->path));
		ASSERT_EQ(0, do_munmap(self->addr, self->len));
		close(gate[1]);
		if (!(round & 1))
			ASSERT_EQ(0, unlink(self->path));
		if (round % 5 == 0)
			kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(status == 0 || (round % 5 == 0 && status == SIGKILL))
			TH_LOG("round %d: status %x", round, status);
	}
	EXPECT_TRUE(WAIT_FOR(debug_regions() <= self->regions_before, 10000));
}

/* umount returns after everything that the names kept has been freed. */
TEST_F(mshare, umount_frees_all)
{
	int i, n = 20, ret;
	char name[64];
	long used, kb = 0;

	if (self->names_before)
		SKIP(return, "there are other regions");
	used = settled_kb();
	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), MSHARE_PREFIX "umount.%d", i);
		ASSERT_EQ(0, sys_mshare(name, self->addr, self->len,
					O_CREAT | O_EXCL | O_RDWR, 0600));
		kb += fill_region(self->addr, MEG);
		ASSERT_EQ(0, do_munmap(self->addr, self->len));
	}
	EXPECT_LT(n * 900, kb);
	ret = neg(umount(MSHARE_DIR));
	if (ret == -EBUSY)
		SKIP(return, "msharefs is in use");
	ASSERT_EQ(0, ret);
	/*
	 * Pages that were just freed are counted for each CPU, and added later.
	 */
	i = debug_regions();
	EXPECT_GE(self->regions_before, i)
		TH_LOG("%d regions of %d outlive umount", i, n);
	EXPECT_TRUE(WAIT_FOR(used_kb() - used < kb / 8, 10000));
	ASSERT_EQ(0, neg(mount("msharefs", MSHARE_DIR, "msharefs", 0, NULL)));
	EXPECT_EQ(0, region_names(false));
}

/* ------------------------------------------------ a creator that takes long */

/* Reads a byte of a page that is held back, and so keeps its mmap_lock. */
static void *hold_mmap_lock(void *page)
{
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	char c;

	if (pread(fd, &c, 1, (off_t)page) != 1)
		ksft_print_msg("the held page: %s\n", strerror(errno));
	close(fd);
	return NULL;
}

/*
 * A process that creates a region while its mmap_lock is held for as long as
 * the test wants. Its exit status is the error of mshare().
 */
static pid_t slow_maker(struct fuse *f, const char *name, char *addr,
			size_t len, char *border)
{
	pid_t pid = fork();
	pthread_t thread;
	char *page;
	long ret;
	int fd;

	if (pid)
		return pid;

	/* The connection ends when no process has this open. */
	close(f->fd);
	fd = fuse_open_file(f, "held", O_RDONLY);
	if (fd < 0)
		_exit(200);
	page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	if (page == MAP_FAILED)
		_exit(201);
	/* A mapping across the border makes the call fail in the end. */
	if (border && map_anon(border - PAGE, 2 * PAGE, RW))
		_exit(202);
	if (pthread_create(&thread, NULL, hold_mmap_lock, page))
		_exit(203);
	if (fuse_wait_held(f))
		_exit(204);
	ret = sys_mshare(name, addr, len, O_CREAT | O_EXCL | O_RDWR, 0600);
	if (!ret && (map_anon(addr, PAGE, RW) || probe_store(addr, 1)))
		ret = -205;
	_exit(-ret);
}

/* A child that makes one call; its exit status is the error. */
static pid_t in_background(peer_fn fn, long a, long b, long c, long d, long e)
{
	pid_t pid = fork();

	if (!pid)
		_exit(-fn(a, b, c, d, e, 0));
	return pid;
}

/* The wait status within ms milliseconds, or -1. */
static int reaped_within(pid_t pid, long ms)
{
	int status = -1;

	return WAIT_FOR(waitpid(pid, &status, WNOHANG) == pid, ms) ? status : -1;
}

PEER_FN(pf_stat)
{
	struct stat st;

	PEER_UNUSED();
	return neg(stat((const char *)a, &st));
}

PEER_FN(pf_unlink_path)
{
	PEER_UNUSED();
	return neg(unlink((const char *)a));
}

TEST_F(mshare, slow_maker_blocks_nobody)
{
	char *there = self->addr + 2 * self->granule;
	char other[160], absent[256];
	pid_t maker, attacher, pid;
	struct fuse f;

	if (fuse_start(&f))
		SKIP(return, "no FUSE");
	snprintf(other, sizeof(other), "%s.old", self->name);
	ASSERT_EQ(0, sys_mshare(other, there, self->len, O_CREAT | O_RDWR,
				0600));
	ASSERT_EQ(0, do_munmap(there, self->len));
	region_path(absent, sizeof(absent), MSHARE_PREFIX "absent");

	maker = slow_maker(&f, self->name, self->addr, self->len, NULL);
	ASSERT_LT(0, maker);
	/* The name is taken before the creator waits. */
	ASSERT_TRUE(WAIT_FOR(!access(self->path, F_OK), 10000));

	/* Other processes look up, create and remove regions. */
	pid = in_background(pf_stat, (long)absent, 0, 0, 0, 0);
	EXPECT_EQ(ENOENT << 8, reaped_within(pid, 10000));
	pid = in_background(pf_mshare, (long)self->name2, (long)there,
			    self->len, O_CREAT | O_RDWR, 0600);
	EXPECT_EQ(0, reaped_within(pid, 10000));
	region_path(absent, sizeof(absent), other);
	pid = in_background(pf_unlink_path, (long)absent, 0, 0, 0, 0);
	EXPECT_EQ(0, reaped_within(pid, 10000));
	pid = in_background(pf_mshare, (long)self->name, (long)self->addr,
			    self->len, O_CREAT | O_EXCL | O_RDWR, 0600);
	EXPECT_EQ(EEXIST << 8, reaped_within(pid, 10000));
	/* Attaching to that region waits until it is complete or killed. */
	attacher = in_background(pf_mshare, (long)self->name, (long)self->addr,
				 self->len, O_RDWR, 0);
	pid = in_background(pf_mshare, (long)self->name, (long)self->addr,
			    self->len, O_CREAT | O_RDWR, 0);
	EXPECT_EQ(-1, reaped_within(pid, 500));
	kill(pid, SIGKILL);
	EXPECT_EQ(SIGKILL, reaped_within(pid, 10000));
	EXPECT_EQ(-1, reaped_within(attacher, 100));

	fuse_release(&f);
	EXPECT_EQ(0, reaped_within(maker, 20000));
	EXPECT_EQ(0, reaped_within(attacher, 10000));
	fuse_stop(&f);
	EXPECT_EQ(0, debug_check());
}

static void ignore_signal(int sig)
{
	(void)sig;
}

/* A signal that has a handler does not make a call fail that waits. */
TEST_F(mshare, handled_signals_do_not_interrupt)
{
	struct sigaction sa = { .sa_handler = ignore_signal };
	pid_t maker, attacher;
	struct fuse f;
	int i;

	if (fuse_start(&f))
		SKIP(return, "no FUSE");
	maker = slow_maker(&f, self->name, self->addr, self->len, NULL);
	ASSERT_LT(0, maker);
	ASSERT_TRUE(WAIT_FOR(!access(self->path, F_OK), 10000));
	/* Without SA_RESTART. The child inherits it. */
	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	attacher = in_background(pf_mshare, (long)self->name, (long)self->addr,
				 self->len, O_RDWR, 0);
	ASSERT_LT(0, attacher);
	for (i = 0; i < 5; i++) {
		EXPECT_EQ(-1, reaped_within(attacher, 100));
		EXPECT_EQ(0, kill(attacher, SIGUSR1));
	}
	EXPECT_EQ(-1, reaped_within(attacher, 300));
	fuse_release(&f);
	EXPECT_EQ(0, reaped_within(maker, 20000));
	EXPECT_EQ(0, reaped_within(attacher, 10000));
	fuse_stop(&f);
}

/* The reserved name is removed, and the next caller creates the region. */
TEST_F(mshare, slow_maker_fails)
{
	pid_t maker, next;
	struct fuse f;

	if (fuse_start(&f))
		SKIP(return, "no FUSE");
	maker = slow_maker(&f, self->name, self->addr, self->len, self->addr);
	ASSERT_LT(0, maker);
	ASSERT_TRUE(WAIT_FOR(!access(self->path, F_OK), 10000));
	next = in_background(pf_mshare, (long)self->name, (long)self->addr,
			     self->len, O_CREAT | O_RDWR, 0600);
	EXPECT_EQ(-1, reaped_within(next, 300));
	fuse_release(&f);
	EXPECT_EQ(EINVAL << 8, reaped_within(maker, 20000));
	EXPECT_EQ(0, reaped_within(next, 10000));
	EXPECT_EQ(0, access(self->path, F_OK));
	fuse_stop(&f);
}

/* Killed while it waits: the name is removed. */
TEST_F(mshare, slow_maker_killed)
{
	pid_t maker, waiter;
	struct fuse f;

	if (fuse_start(&f))
		SKIP(return, "no FUSE");
	maker = slow_maker(&f, self->name, self->addr, self->len, NULL);
	ASSERT_LT(0, maker);
	ASSERT_TRUE(WAIT_FOR(!access(self->path, F_OK), 10000));
	waiter = in_background(pf_mshare, (long)self->name, (long)self->addr,
			       self->len, O_RDWR, 0);
	EXPECT_EQ(-1, reaped_within(waiter, 200));
	kill(maker, SIGKILL);
	/* Its other thread waits for FUSE, but the call has ended. */
	EXPECT_TRUE(WAIT_FOR(access(self->path, F_OK), 10000));
	EXPECT_EQ(ENOENT << 8, reaped_within(waiter, 10000));
	fuse_stop(&f);
	EXPECT_EQ(SIGKILL, reaped_within(maker, 20000));
}

/* Removed during creation: the creator has a region without a name. */
TEST_F(mshare, unlink_while_made)
{
	struct fuse f;
	pid_t maker;

	if (fuse_start(&f))
		SKIP(return, "no FUSE");
	maker = slow_maker(&f, self->name, self->addr, self->len, NULL);
	ASSERT_LT(0, maker);
	ASSERT_TRUE(WAIT_FOR(!access(self->path, F_OK), 10000));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(-1, access(self->path, F_OK));
	/* The name is free for another region. */
	MAKE_REGION();
	fuse_release(&f);
	EXPECT_EQ(0, reaped_within(maker, 20000));
	EXPECT_EQ(0, access(self->path, F_OK));
	fuse_stop(&f);
	EXPECT_EQ(0, debug_check());
}

/* ------------------------------------------------------------ the directory */

/* Reads the names into a page that is held back. */
static pid_t dir_reader(struct fuse *f)
{
	pid_t pid = fork();
	void *page;
	int fd, dir;

	if (pid)
		return pid;

	close(f->fd);
	fd = fuse_open_file(f, "held", O_RDONLY);
	dir = open(MSHARE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || dir < 0)
		_exit(201);
	page = mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0);
	if (page == MAP_FAILED)
		_exit(202);
	_exit(syscall(SYS_getdents64, dir, page, PAGE) > 0 ? 0 : 203);
}

PEER_FN(pf_list)
{
	PEER_UNUSED();
	return region_names(false) < 0 ? -EIO : 0;
}

PEER_FN(pf_unlink_region)
{
	PEER_UNUSED();
	return sys_mshare_unlink((const char *)a);
}

TEST_F(mshare, dir_reader_blocks_nobody)
{
	char *there = self->addr + 2 * self->granule;
	char path[256];
	pid_t reader, pid;
	struct fuse f;

	if (fuse_start(&f))
		SKIP(return, "no FUSE");
	ASSERT_EQ(0, sys_mshare(self->name2, there, self->len, O_CREAT | O_RDWR,
				0600));
	ASSERT_EQ(0, do_munmap(there, self->len));

	reader = dir_reader(&f);
	ASSERT_LT(0, reader);
	ASSERT_EQ(0, fuse_wait_held(&f));

	pid = in_background(pf_mshare, (long)self->name, (long)self->addr,
			    self->len, O_CREAT | O_EXCL | O_RDWR, 0600);
	EXPECT_EQ(0, reaped_within(pid, 10000));
	region_path(path, sizeof(path), MSHARE_PREFIX "absent");
	pid = in_background(pf_stat, (long)path, 0, 0, 0, 0);
	EXPECT_EQ(ENOENT << 8, reaped_within(pid, 10000));
	pid = in_background(pf_list, 0, 0, 0, 0, 0);
	EXPECT_EQ(0, reaped_within(pid, 10000));
	pid = in_background(pf_unlink_path, (long)self->path, 0, 0, 0, 0);
	EXPECT_EQ(0, reaped_within(pid, 10000));
	pid = in_background(pf_unlink_region, (long)self->name2, 0, 0, 0, 0);
	EXPECT_EQ(0, reaped_within(pid, 10000));
	EXPECT_EQ(-1, reaped_within(reader, 100));

	fuse_release(&f);
	EXPECT_EQ(0, reaped_within(reader, 20000));
	fuse_stop(&f);
}

#define NAMES 6

/*
 * The next name in a directory, with a buffer that has room for one. Return: its
 * number; NAMES at the end; -1 for the dots, which may come together.
 */
static int next_name(int dir, const char *prefix, long *position)
{
	char buffer[300];
	struct {
		uint64_t ino;
		int64_t off;
		unsigned short reclen;
		unsigned char type;
		char name[];
	} *entry = (void *)buffer;
	long n = syscall(SYS_getdents64, dir, buffer,
			 (24 + strlen(prefix) + 2 + 7) / 8 * 8);

	if (n == 0)
		return NAMES;
	if (n < 0)
		return -errno - 1;
	if (entry->name[0] == '.')
		return -1;
	if (n != entry->reclen)
		return -2;
	if (position)
		*position = entry->off;
	return entry->name[strlen(prefix)] - '0';
}

static long make_name(const char *prefix, char *at, size_t len, int number)
{
	char name[200];

	snprintf(name, sizeof(name), "%s%d", prefix, number);
	return sys_mshare(name, at, len, O_CREAT | O_EXCL | O_RDWR, 0600) ?:
	       do_munmap(at, len);
}

static long remove_name(const char *prefix, int number)
{
	char name[200];

	snprintf(name, sizeof(name), "%s%d", prefix, number);
	return sys_mshare_unlink(name);
}

/* A listing has all that was there throughout, once, whatever else changes. */
TEST_F(mshare, listing_beside_changes)
{
	int dir, i, n, seen[NAMES] = {};
	bool dots = false;
	long position = 0;

	if (self->names_before)
		SKIP(return, "regions of others");
	for (i = 0; i < NAMES - 1; i++)
		ASSERT_EQ(0, make_name(self->name, self->addr, self->len, i));
	dir = open(MSHARE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT_LE(0, dir);

	while ((n = next_name(dir, self->name, NULL)) == -1)
		dots = true;
	EXPECT_TRUE(dots);
	ASSERT_LE(0, n);
	ASSERT_GT(NAMES, n);
	seen[n]++;
	/* The one that was read, one that was not, and a new one. */
	ASSERT_EQ(0, remove_name(self->name, n));
	ASSERT_EQ(0, remove_name(self->name, (n + 2) % (NAMES - 1)));
	ASSERT_EQ(0, make_name(self->name, self->addr, self->len, NAMES - 1));
	i = 0;
	while ((n = next_name(dir, self->name, i ? NULL : &position)) != NAMES) {
		ASSERT_LE(0, n);
		ASSERT_GT(NAMES, n);
		seen[n]++;
		i++;
	}
	for (n = i = 0; i < NAMES - 1; i++) {
		EXPECT_GE(1, seen[i]);
		n += seen[i];
	}
	EXPECT_EQ(NAMES - 2, n);
	/* Anew from behind the second name, and from the start. */
	ASSERT_EQ(position, lseek(dir, position, SEEK_SET));
	for (i = 0; next_name(dir, self->name, NULL) != NAMES; i++)
		;
	EXPECT_EQ(NAMES - 3, i);
	ASSERT_EQ(0, lseek(dir, 0, SEEK_SET));
	for (i = 0; (n = next_name(dir, self->name, NULL)) != NAMES; i += n >= 0)
		;
	EXPECT_EQ(NAMES - 2, i);
	close(dir);
	region_names(true);
}

/* The owner cannot make others wait until a lease breaks. */
TEST_F(mshare, lease_refused)
{
	const int kinds[] = { F_RDLCK, F_WRLCK };
	int fd, i;

	MAKE_REGION();
	for (i = 0; i < 2; i++) {
		fd = region_open(self->name, i ? O_RDWR : O_RDONLY);
		ASSERT_LE(0, fd);
		EXPECT_EQ(-EINVAL, neg(fcntl(fd, F_SETLEASE, kinds[i])));
		close(fd);
	}
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
