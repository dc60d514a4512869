/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the mshare selftests have in common: the two system calls, guarded loads
 * and stores, peer processes that execute calls, numbers from /proc, and a
 * fixture that looks for leaks after each test.
 *
 * Every wrapper returns 0 or a negative errno, so that a failed comparison
 * prints the error and not only "-1".
 */
#ifndef _MSHARE_HELPERS_H
#define _MSHARE_HELPERS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#if __has_include("../kselftest_harness.h")
#include "../kselftest_harness.h"
#else
#include "kselftest_harness.h"
#endif

/*
 * Seconds after which a test counts as hung. The harness says 30, which is
 * too few for an emulated CPU on a busy machine.
 */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 300

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>

#ifndef __NR_mshare
#define __NR_mshare 548
#define __NR_mshare_unlink 549
#endif

/*
 * The content of a region's file.  Not taken from the uapi header, so that an
 * error there is noticed here.
 */
struct region_info {
	__u64 start;
	__u64 size;
};

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define MSHARE_DIR	"/sys/fs/mshare"
#define MSHARE_SYSCTL	"/proc/sys/vm/mshare_size"
#define MSHARE_DEBUG	"/sys/kernel/debug/mshare/"
/*
 * Names of the tests' regions begin with this, so that leftovers are
 * recognized.
 */
#define MSHARE_PREFIX	"kst-"

#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)
#define MEG (1024 * 1024UL)

#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v) __atomic_store_n(&(x), v, __ATOMIC_RELAXED)

/* ---------------------------------------------------------------- calls */

static inline long neg(long ret)
{
	return ret == -1 ? -errno : ret;
}

static inline long sys_mshare(const char *name, void *addr, size_t len,
			      int oflag, mode_t mode)
{
	return neg(syscall(__NR_mshare, name, addr, len, oflag, mode));
}

static inline long sys_mshare_unlink(const char *name)
{
	return neg(syscall(__NR_mshare_unlink, name));
}

/* mmap at exactly this address: 0, or a negative errno. */
static inline long map_fd(void *addr, size_t len, int prot, int flags, int fd,
			  off_t off)
{
	void *p = mmap(addr, len, prot, flags | MAP_FIXED, fd, off);

	if (p == MAP_FAILED)
		return -errno;
	return p == addr ? 0 : -ERANGE;
}

/* Private anonymous memory, which a region shares all the same. */
static inline long map_anon(void *addr, size_t len, int prot)
{
	return map_fd(addr, len, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static inline long map_shmem(void *addr, size_t len, int prot)
{
	return map_fd(addr, len, prot,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static inline long do_munmap(void *addr, size_t len)
{
	return neg(munmap(addr, len));
}

static inline long do_mprotect(void *addr, size_t len, int prot)
{
	return neg(mprotect(addr, len, prot));
}

static inline long do_madvise(void *addr, size_t len, int advice)
{
	return neg(madvise(addr, len, advice));
}

/* The new address, or a negative errno. */
static inline long do_mremap(void *old, size_t old_len, size_t new_len,
			     int flags, void *to)
{
	return neg(syscall(__NR_mremap, old, old_len, new_len, flags, to));
}

/* ------------------------------------------------------------ /proc, /sys */

/* The whole file, terminated. Return: its length, or a negative errno. */
static inline ssize_t slurp(const char *path, char *buf, size_t size)
{
	size_t n = 0;
	ssize_t r;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (n < size - 1) {
		r = read(fd, buf + n, size - 1 - n);
		if (r < 0) {
			r = -errno;
			close(fd);
			return r;
		}
		if (!r)
			break;
		n += r;
	}
	close(fd);
	buf[n] = 0;
	return n;
}

static inline long spew(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t r;

	if (fd < 0)
		return -errno;
	r = write(fd, text, strlen(text));
	r = r < 0 ? -errno : 0;
	close(fd);
	return r;
}

static inline long spew_num(const char *path, long num)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", num);
	return spew(path, text);
}

/*
 * The number after "key" at the start of a line of a file; -ENOENT if there is
 * none.  For meminfo, vmstat, status and fdinfo.
 */
static inline long figure(const char *path, const char *key)
{
	static char buf[65536];
	ssize_t n = slurp(path, buf, sizeof(buf));
	size_t len = strlen(key);
	char *line;

	if (n < 0)
		return n;
	for (line = buf; line && *line; ) {
		if (!strncmp(line, key, len) &&
		    (line[len] == ':' || line[len] == ' '))
			return strtol(line + len + 1, NULL, 0);
		line = strchr(line, '\n');
		if (line)
			line++;
	}
	return -ENOENT;
}

static inline long meminfo_kb(const char *key)
{
	return figure("/proc/meminfo", key);
}

/* Without what CPUs have counted but not yet added to the sum. */
static inline long pagetables_kb(void)
{
	spew("/proc/sys/vm/stat_refresh", "1");
	return meminfo_kb("PageTables");
}

static inline long vmstat_count(const char *key)
{
	return figure("/proc/vmstat", key);
}

static inline long self_status(const char *key)
{
	return figure("/proc/self/status", key);
}

static inline void region_path(char *buf, size_t size, const char *name)
{
	snprintf(buf, size, MSHARE_DIR "/%s", name);
}

static inline int region_open(const char *name, int flags)
{
	char path[512];
	int fd;

	region_path(path, sizeof(path), name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* A line of the fdinfo of a region's file. */
static inline long region_figure(const char *name, const char *key)
{
	int fd = region_open(name, O_RDONLY);
	char path[64];
	long val;

	if (fd < 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	val = figure(path, key);
	close(fd);
	return val;
}

/* Is exactly this much resident?  The number is a sum over all CPUs. */
static inline bool resident_is(const char *name, long kb)
{
	long got = region_figure(name, "mshare-resident-kb");

	if (got != kb)
		ksft_print_msg("%ld kB resident instead of %ld\n", got, kb);
	return got == kb;
}

/*
 * The line of a maps file that holds addr: its text, or NULL.  Lines of a
 * process with a thousand mappings fit; the tests have far fewer.
 */
static inline char *maps_line(const char *path, const void *addr)
{
	static char buf[262144];
	unsigned long start, end, at = (unsigned long)addr;
	char *line, *next;

	if (slurp(path, buf, sizeof(buf)) < 0)
		return NULL;
	for (line = buf; *line; line = next) {
		next = strchr(line, '\n');
		if (!next)
			return NULL;
		*next++ = 0;
		if (sscanf(line, "%lx-%lx", &start, &end) == 2 &&
		    at >= start && at < end)
			return line;
	}
	return NULL;
}

static inline char *self_maps_line(const void *addr)
{
	return maps_line("/proc/self/maps", addr);
}

/* A number of the smaps paragraph that begins at addr, or a negative errno. */
static inline long smaps_kb(pid_t pid, const void *addr, const char *key)
{
	static char buf[524288];
	char path[64], head[32], *at, *end;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	if (slurp(path, buf, sizeof(buf)) < 0)
		return -EIO;
	snprintf(head, sizeof(head), "%lx-", (unsigned long)addr);
	at = strstr(buf, head);
	if (!at)
		return -ENOENT;
	end = strstr(at, "VmFlags:");
	if (!end)
		return -EBADMSG;
	*end = 0;
	snprintf(head, sizeof(head), "\n%s:", key);
	at = strstr(at, head);
	return at ? strtol(at + strlen(head), NULL, 10) : -ENOENT;
}

/* One bit per page from mincore(): 1, 0, or a negative errno. */
static inline long resident(void *addr)
{
	unsigned char vec = 0;

	if (mincore(addr, PAGE, &vec))
		return -errno;
	return vec & 1;
}

/* --------------------------------------------------------------- waiting */

static inline void nap_ms(long ms)
{
	struct timespec ts = { ms / 1000, (ms % 1000) * 1000000 };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

static inline long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Wait for cond. Return: false if it is not true within ms milliseconds. */
#define WAIT_FOR(cond, ms)						\
({									\
	long __end = now_ms() + (ms);					\
	int __turns = 0;						\
	bool __ok;							\
									\
	while (!(__ok = !!(cond)) && now_ms() < __end)			\
		if (__turns++ < 200)					\
			sched_yield();					\
		else							\
			nap_ms(2);					\
	__ok;								\
})

/* ----------------------------------------------------------- debug kernel */

static inline bool debug_kernel(void)
{
	return !access(MSHARE_DEBUG "check", R_OK);
}

/* Rounds or bytes of a test that is far slower on the debug kernel. */
static inline long scaled(long normal, long debug)
{
	return debug_kernel() ? debug : normal;
}

/* 0 if every region's tables are sound, or if the kernel cannot check. */
static inline int debug_check(void)
{
	char buf[4096];
	ssize_t n = slurp(MSHARE_DEBUG "check", buf, sizeof(buf));

	if (n == -ENOENT || n == -EACCES)
		return 0;
	if (n < 0)
		return n;
	if (!strncmp(buf, "ok", 2) && (buf[2] == '\n' || !buf[2]))
		return 0;
	ksft_print_msg("mshare/check: %s\n", buf);
	return 1;
}

/* The number of live regions, with or without a name; 0 without the list. */
static inline int debug_regions(void)
{
	static char buf[65536];
	int lines = 0;
	char *p;

	if (slurp(MSHARE_DEBUG "regions", buf, sizeof(buf)) < 0)
		return 0;
	for (p = buf; *p; p++)
		lines += *p == '\n';
	return lines;
}

/* ---------------------------------------------------------- guarded access */

struct fault {
	int sig;
	int code;
	void *addr;
};

static __thread sigjmp_buf probe_env;
static __thread int probe_armed;
static __thread struct fault last_fault;

static inline void probe_handler(int sig, siginfo_t *info, void *ctx)
{
	(void)ctx;
	if (!READ_ONCE(probe_armed)) {
		/*
		 * Not expected: die of the signal as if there were no handler.
		 */
		signal(sig, SIG_DFL);
		return;
	}
	last_fault.sig = sig;
	last_fault.code = info->si_code;
	last_fault.addr = info->si_addr;
	siglongjmp(probe_env, 1);
}

static inline void probe_init(void)
{
	struct sigaction sa = {
		.sa_sigaction = probe_handler,
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	/* The peer may have been killed: then the write fails. */
	signal(SIGPIPE, SIG_IGN);
}

/* Run statements under guard. Return: 0, or the signal that they raised. */
#define PROBE(...)							\
({									\
	memset(&last_fault, 0, sizeof(last_fault));			\
	if (!sigsetjmp(probe_env, 0)) {					\
		WRITE_ONCE(probe_armed, 1);					\
		__VA_ARGS__;						\
	}								\
	WRITE_ONCE(probe_armed, 0);						\
	last_fault.sig;							\
})

static inline int probe_load(const void *addr, long *val)
{
	return PROBE(*val = READ_ONCE(*(const long *)addr));
}

static inline int probe_store(void *addr, long val)
{
	return PROBE(WRITE_ONCE(*(long *)addr, val));
}

static inline int probe_byte(const void *addr)
{
	return PROBE((void)READ_ONCE(*(const char *)addr));
}

/* The value, or if the load faults a mark that no test writes. */
#define LOAD_FAULTED (-0x0fa017edL)

static inline long load(const void *addr)
{
	long val;

	return probe_load(addr, &val) ? LOAD_FAULTED : val;
}

/* ------------------------------------------------------------------ peers */

/*
 * A peer is a child that is forked before a region exists and then executes
 * what peer_call() sends. So it reaches regions only by name, like an unrelated
 * process.  Functions and strings must exist at the fork (the fixture's memory
 * does: it is shared).
 */
struct peer {
	pid_t pid;
	int to;
	int from;
	long val;		/* of the last call */
	struct fault fault;
};

typedef long (*peer_fn)(long a, long b, long c, long d, long e, long f);

struct peer_req {
	peer_fn fn;
	long arg[6];
};

struct peer_res {
	long ret;
	long val;
	struct fault fault;
};

static long peer_val;

static inline __noreturn void peer_main(int in, int out)
{
	struct peer_req req;
	struct peer_res res;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	probe_init();
	while (read(in, &req, sizeof(req)) == sizeof(req) && req.fn) {
		peer_val = 0;
		memset(&last_fault, 0, sizeof(last_fault));
		memset(&res, 0, sizeof(res));
		res.ret = req.fn(req.arg[0], req.arg[1], req.arg[2],
				 req.arg[3], req.arg[4], req.arg[5]);
		res.val = peer_val;
		res.fault = last_fault;
		if (write(out, &res, sizeof(res)) != sizeof(res))
			break;
	}
	_exit(0);
}

static inline int peer_start(struct peer *p)
{
	int to[2], from[2];

	memset(p, 0, sizeof(*p));
	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		return -errno;
	p->pid = fork();
	if (p->pid < 0)
		return -errno;
	if (!p->pid) {
		close(to[1]);
		close(from[0]);
		peer_main(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	p->to = to[1];
	p->from = from[0];
	return 0;
}

/* Start a call in a peer without waiting; peer_wait() returns the result. */
static inline long peer_post(struct peer *p, const struct peer_req *req)
{
	if (write(p->to, req, sizeof(*req)) != sizeof(*req))
		return -EPIPE;
	return 0;
}

static inline long peer_wait(struct peer *p)
{
	struct peer_res res;

	if (read(p->from, &res, sizeof(res)) != sizeof(res))
		return -ESRCH;
	p->val = res.val;
	p->fault = res.fault;
	return res.ret;
}

static inline long peer_run(struct peer *p, const struct peer_req *req)
{
	long ret = peer_post(p, req);

	return ret ? ret : peer_wait(p);
}

#define PEER_REQ(func, ...)						\
	(&(struct peer_req){ .fn = (func), .arg = { __VA_ARGS__ } })
#define peer_call(peer, func, ...)					\
	peer_run(peer, PEER_REQ(func, ##__VA_ARGS__))

/* End a peer and wait for it. Return: its status, 0 if it exited by itself. */
static inline int peer_stop(struct peer *p)
{
	struct peer_req quit = { .fn = NULL };
	int status = 0;

	/*
	 * Not by closing the pipe, which another child may have open as well.
	 */
	if (write(p->to, &quit, sizeof(quit)) != sizeof(quit))
		kill(p->pid, SIGKILL);
	close(p->to);
	close(p->from);
	if (waitpid(p->pid, &status, 0) != p->pid)
		return -1;
	p->pid = 0;
	return status;
}

static inline int peer_kill(struct peer *p)
{
	kill(p->pid, SIGKILL);
	return peer_stop(p);
}

#define PEER_FN(name)							\
	static inline long name(long a, long b, long c, long d, long e, long f)
#define PEER_UNUSED() \
	do { (void)a; (void)b; (void)c; (void)d; (void)e; (void)f; } while (0)

PEER_FN(pf_mshare)
{
	PEER_UNUSED();
	return sys_mshare((const char *)a, (void *)b, c, d, e);
}

PEER_FN(pf_unlink)
{
	PEER_UNUSED();
	return sys_mshare_unlink((const char *)a);
}

PEER_FN(pf_load)
{
	PEER_UNUSED();
	return probe_load((void *)a, &peer_val);
}

PEER_FN(pf_store)
{
	PEER_UNUSED();
	return probe_store((void *)a, b);
}

PEER_FN(pf_map_anon)
{
	PEER_UNUSED();
	return map_anon((void *)a, b, c);
}

PEER_FN(pf_map_shmem)
{
	PEER_UNUSED();
	return map_shmem((void *)a, b, c);
}

PEER_FN(pf_munmap)
{
	PEER_UNUSED();
	return do_munmap((void *)a, b);
}

PEER_FN(pf_mprotect)
{
	PEER_UNUSED();
	return do_mprotect((void *)a, b, c);
}

PEER_FN(pf_madvise)
{
	PEER_UNUSED();
	return do_madvise((void *)a, b, c);
}

static inline long peer_load(struct peer *p, const void *addr)
{
	return peer_call(p, pf_load, (long)addr);
}

static inline long peer_store(struct peer *p, void *addr, long val)
{
	return peer_call(p, pf_store, (long)addr, val);
}

/* The value that the peer sees, or LOAD_FAULTED. */
static inline long peer_see(struct peer *p, const void *addr)
{
	return peer_load(p, addr) ? LOAD_FAULTED : p->val;
}

static inline long peer_munmap(struct peer *p, void *addr, size_t len)
{
	return peer_call(p, pf_munmap, (long)addr, (long)len);
}

/* --------------------------------------------------------------- clean-up */

/*
 * Entries of the msharefs root. With remove, those of the tests are removed
 * first.
 */
static inline int region_names(bool remove)
{
	struct dirent *de;
	char path[512];
	int names = 0;
	DIR *dir;

	if (remove) {
		dir = opendir(MSHARE_DIR);
		if (!dir)
			return -errno;
		while ((de = readdir(dir))) {
			if (strncmp(de->d_name, MSHARE_PREFIX,
				    strlen(MSHARE_PREFIX)))
				continue;
			region_path(path, sizeof(path), de->d_name);
			unlink(path);
		}
		closedir(dir);
	}

	dir = opendir(MSHARE_DIR);
	if (!dir)
		return -errno;
	while ((de = readdir(dir)))
		names += de->d_name[0] != '.';
	closedir(dir);
	return names;
}

/* Living or unreaped members of our process group, except ourselves. */
static inline int group_members(void)
{
	struct dirent *de;
	char path[300], buf[1024], *p;
	int n = 0, pgrp;
	DIR *dir = opendir("/proc");

	if (!dir)
		return -errno;
	while ((de = readdir(dir))) {
		if (!isdigit(de->d_name[0]) || atoi(de->d_name) == getpid())
			continue;
		snprintf(path, sizeof(path), "/proc/%s/stat", de->d_name);
		if (slurp(path, buf, sizeof(buf)) <= 0)
			continue;
		p = strrchr(buf, ')');
		if (p && sscanf(p + 2, "%*c %*d %d", &pgrp) == 1 &&
		    pgrp == getpgrp())
			n++;
	}
	closedir(dir);
	return n;
}

/* ---------------------------------------------------------------- fixture */

static inline unsigned long sysctl_granule(void)
{
	char buf[64];

	if (slurp(MSHARE_SYSCTL, buf, sizeof(buf)) <= 0)
		return 0;
	return strtoul(buf, NULL, 0);
}

#define GIB	(1024UL * MEG)
#define UNIT	(512 * GIB)	/* what a P4D entry spans */
/* A unit that no process uses, nor any region of slot_addr(). */
#define FAR_UNIT (200 * UNIT)

/*
 * The kernel links a region by entries of two levels: see mshare_span().  By
 * default the tests' regions are linked by the lower level. With
 * MSHARE_GEOMETRY=unit they are linked by the upper level alone, with =mixed by
 * one upper entry between two lower ones.
 */
static inline unsigned long granule_size(void)
{
	const char *env = getenv("MSHARE_GEOMETRY");
	unsigned long granule = sysctl_granule();

	if (!granule || !env || !*env)
		return granule;
	if (!strcmp(env, "unit"))
		return UNIT;
	if (!strcmp(env, "mixed"))
		return UNIT + 2 * GIB;
	fprintf(stderr, "MSHARE_GEOMETRY: %s is neither unit nor mixed\n", env);
	return 0;
}

/*
 * Slots that a 47-bit process does not use: a static binary lives in slot 0, a
 * position-independent one above 0x550000000000, the rest below the stack.
 */
static inline char *slot_addr(unsigned long granule, unsigned int slot)
{
	/* If both levels are needed, the first entry is of the lower level. */
	if (granule > UNIT)
		return (char *)(2 * UNIT * slot + UNIT - GIB);
	return (char *)(granule * slot);
}

/* Each test has its own place, which is the same in every run. */
static inline unsigned int slot_of_name(const char *name)
{
	unsigned int h = 5381;

	while (*name)
		h = h * 33 + (unsigned char)*name++;
	/* Mixed regions are large. */
	return 16 + 4 * (h % (granule_size() > UNIT ? 14 : 30));
}

FIXTURE(mshare)
{
	char name[128];		/* for the test's region */
	char name2[128];	/* and for a second one */
	char path[256];		/* the file of the first */
	unsigned long granule;
	char *addr;		/* three more slots above it are free too */
	size_t len;
	int names_before;
	int regions_before;
};

FIXTURE_SETUP(mshare)
{
	probe_init();
	self->granule = granule_size();
	ASSERT_NE(0UL, self->granule);
	snprintf(self->name, sizeof(self->name), MSHARE_PREFIX "%s",
		 _metadata->name);
	snprintf(self->name2, sizeof(self->name2), MSHARE_PREFIX "%s.2",
		 _metadata->name);
	region_path(self->path, sizeof(self->path), self->name);
	self->addr = slot_addr(self->granule, slot_of_name(_metadata->name));
	self->len = self->granule;
	self->names_before = region_names(true);
	ASSERT_LE(0, self->names_before);
	WAIT_FOR(debug_regions() <= self->names_before, 5000);
	self->regions_before = debug_regions();
}

/*
 * Runs in the parent after the test's process has exited: whatever is left now
 * has leaked.
 */
FIXTURE_TEARDOWN_PARENT(mshare)
{
	/* From a failed assertion that ended the test, already reported. */
	_metadata->trigger = 0;
	EXPECT_TRUE(WAIT_FOR(group_members() == 0, 10000))
		TH_LOG("%d processes left over", group_members());
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(self->names_before, region_names(true));
	EXPECT_TRUE(WAIT_FOR(debug_regions() <= self->regions_before, 10000))
		TH_LOG("%d live regions, %d before the test", debug_regions(),
		       self->regions_before);
	EXPECT_EQ(0, debug_check());
}

/* The test's region, empty, with its creator as the first sharer. */
#define MAKE_REGION()							\
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,	\
				O_CREAT | O_EXCL | O_RDWR, 0600))

/* A second process that attaches to the test's region by name. */
#define ATTACH_PEER(peer, oflag)					\
	ASSERT_EQ(0, peer_call(peer, pf_mshare, (long)self->name,	\
			       (long)self->addr, (long)self->len, oflag))

/*
 * For tests with one peer p: the region, and both attached with write access.
 */
#define MAKE_SHARED()							\
do {									\
	ASSERT_EQ(0, peer_start(&p));					\
	MAKE_REGION();							\
	ATTACH_PEER(&p, O_RDWR);					\
} while (0)

/* Features that a kernel may lack. */
static inline bool have_thp(void)
{
	return !access("/sys/kernel/mm/transparent_hugepage", F_OK);
}

static inline bool have_swap(void)
{
	return !access("/proc/swaps", F_OK);
}

static inline bool have_advice(int advice)
{
	return !madvise(NULL, 0, advice);
}

/* A temporary file, already unlinked. */
static inline int temp_file(size_t size)
{
	char path[] = "/tmp/mshare-test-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0)
		return -errno;
	unlink(path);
	if (ftruncate(fd, size)) {
		close(fd);
		return -EIO;
	}
	return fd;
}

/*
 * Swap for one test: existing swap, or the machine's spare device (made by
 * mkswap, not in use).  Return: 0, 1 if swap_end() must remove it again, or a
 * negative errno.
 */
#define SWAP_DEVICE "/dev/swap"

static inline int swap_begin(void)
{
	if (meminfo_kb("SwapFree") > 32768)
		return 0;
	return swapon(SWAP_DEVICE, 0) ? -errno : 1;
}

static inline long swap_end(void)
{
	return neg(swapoff(SWAP_DEVICE));
}

/* ------------------------------------------------------------------- main */

static inline bool msharefs_mounted(void)
{
	struct stat dir, parent;

	return !stat(MSHARE_DIR, &dir) && !stat("/sys/fs", &parent) &&
	       dir.st_dev != parent.st_dev;
}

/* Exits the program if there is nothing to test here. */
static inline void mshare_require(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (sys_mshare_unlink(NULL) == -ENOSYS) {
		ksft_print_header();
		ksft_exit_skip("the kernel has no mshare()\n");
	}
	if (geteuid()) {
		ksft_print_header();
		ksft_exit_skip("run this as root\n");
	}
	if (!msharefs_mounted() &&
	    mount("msharefs", MSHARE_DIR, "msharefs", 0, NULL)) {
		ksft_print_header();
		ksft_exit_fail_msg("mount msharefs on " MSHARE_DIR ": %s\n",
				   strerror(errno));
	}
}

static inline int mshare_main(int argc, char **argv)
{
	mshare_require();
	return test_harness_run(argc, argv);
}

#endif /* _MSHARE_HELPERS_H */
