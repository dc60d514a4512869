/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The steps of mshare_fuzz: one system call or access each, and its expected
 * result.  step_run() does one step and compares; it does not know the model.
 */
#ifndef _MSHARE_STEPS_H
#define _MSHARE_STEPS_H

#include "mshare_gup.h"
#include "mshare_model.h"

enum op {
	/* accesses, to up to four pages that behave alike */
	OP_READ, OP_WRITE,
	/* a page, by a system call that copies from or to it */
	OP_COPY_FROM, OP_COPY_TO,
	/* a page of another sharer, by process_vm_readv() and _writev() */
	OP_VM_READ, OP_VM_WRITE,
	/* a page, by /proc/self/mem, which overrides protections */
	OP_MEM_READ, OP_MEM_WRITE,
	/* a page, by O_DIRECT: to the device, and from it */
	OP_DIO_FROM, OP_DIO_TO,
	/* a page held by a pipe, and read later */
	OP_PIN, OP_UNPIN,
	/* the child of a fork() accesses pages and ends in some way */
	OP_FORK,
	/* mappings */
	OP_MMAP, OP_MUNMAP, OP_MPROTECT, OP_MADVISE, OP_MLOCK, OP_MUNLOCK,
	OP_MREMAP, OP_MSYNC, OP_MINCORE,
	/* a mapped object, by its descriptor */
	OP_FD_WRITE, OP_FD_READ, OP_FD_PUNCH, OP_FD_TRUNCATE,
	/* the region */
	OP_CREATE, OP_ATTACH, OP_DETACH, OP_UNLINK, OP_RMFILE,
	/* across the region's border */
	OP_BORDER,
	/* the child of a fork() replaces its parent */
	OP_HAND_OVER,
	/* requests to the kernel's memory management */
	OP_SHAKE,
	NR_OPS
};

static const char * const op_name[] = {
	"read", "write", "copy from", "copy to", "process_vm_readv",
	"process_vm_writev", "read of /proc/self/mem",
	"write to /proc/self/mem", "O_DIRECT from", "O_DIRECT to", "vmsplice",
	"read of the pipe", "fork", "mmap", "munmap", "mprotect", "madvise",
	"mlock", "munlock", "mremap", "msync", "mincore", "pwrite", "pread",
	"fallocate", "ftruncate", "create", "attach", "detach",
	"mshare_unlink", "unlink", "crossing", "hand over", "shake",
};

#define STEP_PAGES 4
#define ANY_RESULT 0x7e57
#define PUNCH 3		/* FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE */

enum exit_kind { EXIT_PLAIN, EXIT_KILL, EXIT_EXEC, NR_EXITS };

struct step {
	__u8 op;
	__u8 who;		/* the driver that takes it */
	__u8 other;		/* the driver whose memory it uses, if another */
	__u8 nr;		/* pages that are read or written */
	bool sync;		/* the model waits for the result */
	bool write;		/* of OP_FORK */
	int page;
	int n;			/* pages in the range */
	long arg[4];
	long want;		/* result */
	long alt[2];		/* other results that are right */
	int sig;		/* of an access */
	int code;
	__u64 base[STEP_PAGES];
	bool zero_ok[STEP_PAGES];
};

/* State of a process that takes steps. */
struct actor {
	char *region;
	size_t len;	/* of the region */
	const char *name;
	int self;
	pid_t *pid;		/* of all of them */
	int file[NR_FILES];	/* the objects' descriptors */
	int scratch;		/* a memfd of one page, mapped at page */
	char *page;
	char *buf;		/* a page, private */
	int dio;		/* a block device, or -1 */
	int pipe[2];
	unsigned long count;	/* of steps taken */
	long got;
	char why[256];
};

static inline char *at_page(const struct actor *a, int page)
{
	return a->region + page_offset(page, a->len);
}

static inline int actor_init(struct actor *a)
{
	a->scratch = memfd_create("scratch", MFD_CLOEXEC);
	if (a->scratch < 0 || ftruncate(a->scratch, PAGE))
		return -errno;
	a->page = mmap(NULL, PAGE, RW, MAP_SHARED, a->scratch, 0);
	a->buf = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (a->page == MAP_FAILED || a->buf == MAP_FAILED)
		return -errno;
	return pipe2(a->pipe, O_CLOEXEC | O_NONBLOCK) ? -errno : 0;
}

static inline __printf(2, 3) bool wrong(struct actor *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->why, sizeof(a->why), fmt, ap);
	va_end(ap);
	return false;
}

static inline bool right_content(struct actor *a, const void *page,
				 const struct step *s, int k)
{
	__u64 got = 0;
	int w;

	w = bad_word(page, s->base[k], s->zero_ok[k], a->count, &got);
	if (w < 0)
		return true;
	return wrong(a, "page %d word %d is %llx (version %llu of worker %d) instead of %llx%s",
		     s->page + k, w, (unsigned long long)got,
		     (unsigned long long)version_of(got), worker_of(got),
		     (unsigned long long)word_of(s->base[k], w),
		     s->zero_ok[k] ? " or 0" : "");
}

static inline bool right_result(struct actor *a, const struct step *s,
				long got)
{
	a->got = got;
	if (got == s->want || s->want == ANY_RESULT ||
	    (s->alt[0] && got == s->alt[0]) || (s->alt[1] && got == s->alt[1]))
		return true;
	return wrong(a, "result %ld instead of %ld", got, s->want);
}

/* Not on the stack, whose content siglongjmp() leaves undefined. */
static bool last_good;

static inline void touch(struct actor *a, const struct step *s, int k,
			 bool write)
{
	if (write)
		fill_page(at_page(a, s->page + k), s->base[k]);
	else
		last_good = right_content(a, at_page(a, s->page + k), s, k);
}

/* Loads and stores of the process itself. */
static inline bool run_access(struct actor *a, const struct step *s, bool write)
{
	bool good = true;
	int k;

	for (k = 0; k < s->nr && good; k++) {
		last_good = true;
		if (PROBE(touch(a, s, k, write)))
			break;
		good = last_good;
	}
	if (k == s->nr)
		k--;
	if (last_fault.sig != s->sig || (s->sig && last_fault.code != s->code))
		return wrong(a, "page %d: signal %d code %d instead of %d code %d",
			     s->page + k, last_fault.sig, last_fault.code,
			     s->sig, s->code);
	return good;
}

static inline bool run_copy(struct actor *a, const struct step *s)
{
	char *at = at_page(a, s->page);
	struct iovec mine, theirs = { at, PAGE };
	int fd;

	switch (s->op) {
	case OP_COPY_FROM:
		if (!right_result(a, s, neg(pwrite(a->scratch, at, PAGE, 0))))
			return false;
		return a->got < 0 || right_content(a, a->page, s, 0);
	case OP_COPY_TO:
		fill_page(a->page, s->base[0]);
		return right_result(a, s, neg(pread(a->scratch, at, PAGE, 0)));
	case OP_VM_READ:
	case OP_VM_WRITE:
		mine.iov_base = a->buf;
		mine.iov_len = PAGE;
		if (s->op == OP_VM_WRITE) {
			fill_page(a->buf, s->base[0]);
			a->got = process_vm_writev(a->pid[s->other], &mine, 1,
						   &theirs, 1, 0);
			return right_result(a, s, neg(a->got));
		}
		if (!right_result(a, s, neg(process_vm_readv(a->pid[s->other],
							     &mine, 1, &theirs,
							     1, 0))))
			return false;
		return a->got < 0 || right_content(a, a->buf, s, 0);
	default:
		fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return wrong(a, "/proc/self/mem: %s", strerror(errno));
		if (s->op == OP_MEM_WRITE) {
			fill_page(a->buf, s->base[0]);
			a->got = neg(pwrite(fd, a->buf, PAGE, (off_t)at));
		} else {
			a->got = neg(pread(fd, a->buf, PAGE, (off_t)at));
		}
		close(fd);
		if (!right_result(a, s, a->got))
			return false;
		return s->op == OP_MEM_WRITE || a->got < 0 ||
		       right_content(a, a->buf, s, 0);
	}
}

static inline bool run_hold(struct actor *a, const struct step *s)
{
	struct iovec iov = { at_page(a, s->page), PAGE };
	off_t off = a->self * PAGE;
	__u64 got;
	int w;

	switch (s->op) {
	case OP_DIO_FROM:
		if (!right_result(a, s, neg(pwrite(a->dio, iov.iov_base, PAGE,
						   off))))
			return false;
		if (a->got < 0)
			return true;
		if (pread(a->dio, a->buf, PAGE, off) != PAGE)
			return wrong(a, "the device: %s", strerror(errno));
		return right_content(a, a->buf, s, 0);
	case OP_DIO_TO:
		fill_page(a->buf, s->base[0]);
		if (pwrite(a->dio, a->buf, PAGE, off) != PAGE)
			return wrong(a, "the device: %s", strerror(errno));
		return right_result(a, s, neg(pread(a->dio, iov.iov_base, PAGE,
						    off)));
	case OP_PIN:
		return right_result(a, s, neg(vmsplice(a->pipe[1], &iov, 1,
						       0)));
	default:
		if (!right_result(a, s, neg(read(a->pipe[0], a->buf, PAGE))))
			return false;
		/* The old value, or what has been stored there since. */
		for (w = 0; w < (int)WORDS; w++) {
			got = ((__u64 *)a->buf)[w];
			if (got == word_of(s->base[0], w))
				continue;
			if (!got || (got & (WORDS - 1)) != (__u64)w ||
			    version_of(got) <= version_of(s->base[0]) ||
			    worker_of(got) != worker_of(s->base[0]))
				return right_content(a, a->buf, s, 0);
		}
		return true;
	}
}

/* The child reports with its exit status. */
static inline bool run_fork(struct actor *a, const struct step *s)
{
	static const char * const argv[] = { "mshare_fuzz", "--gone", NULL };
	int status, want = s->arg[0] == EXIT_KILL ? SIGKILL : 0;
	char where[32];
	pid_t pid;

	snprintf(where, sizeof(where), "%p", at_page(a, s->page));
	pid = fork();
	if (pid < 0)
		return wrong(a, "fork: %s", strerror(errno));
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!run_access(a, s, s->write)) {
			ksft_print_msg("in a child: %s\n", a->why);
			_exit(1);
		}
		if (s->arg[0] == EXIT_KILL)
			kill(getpid(), SIGKILL);
		if (s->arg[0] == EXIT_EXEC)
			execl("/proc/self/exe", argv[0], argv[1], where, NULL);
		_exit(s->arg[0] == EXIT_EXEC ? 2 : 0);
	}
	if (waitpid(pid, &status, 0) != pid || status != want)
		return wrong(a, "the child's status is %x instead of %x",
			     status, want);
	return true;
}

static inline bool run_mapping(struct actor *a, const struct step *s)
{
	unsigned char vec[ARENA_PAGES];
	char *at = at_page(a, s->page);
	size_t len = s->n * PAGE;
	long got;

	switch (s->op) {
	case OP_MMAP:
		got = neg((long)mmap(at, len, s->arg[0], s->arg[1],
				     s->arg[2] < 0 ? -1 : a->file[s->arg[2]],
				     s->arg[3] * PAGE));
		if (got == (long)at)
			got = 0;
		break;
	case OP_MUNMAP:
		got = do_munmap(at, len);
		break;
	case OP_MPROTECT:
		got = do_mprotect(at, len, s->arg[0]);
		break;
	case OP_MADVISE:
		got = do_madvise(at, len, s->arg[0]);
		break;
	case OP_MLOCK:
		got = neg(mlock2(at, len, s->arg[0]));
		break;
	case OP_MUNLOCK:
		got = neg(munlock(at, len));
		break;
	case OP_MREMAP:
		/* arg: new length, flags, where to */
		got = do_mremap(at, len, s->arg[0] * PAGE, s->arg[1],
				at_page(a, s->arg[2]));
		if (got == (long)at_page(a, s->arg[2]))
			got = 0;
		break;
	case OP_MSYNC:
		got = neg(msync(at, len, s->arg[0]));
		break;
	default:
		got = neg(mincore(at, len, vec));
	}
	return right_result(a, s, got);
}

static inline bool run_object(struct actor *a, const struct step *s)
{
	off_t off = s->arg[1] * PAGE;
	int fd = a->file[s->arg[0]];

	switch (s->op) {
	case OP_FD_WRITE:
		fill_page(a->buf, s->base[0]);
		return right_result(a, s, neg(pwrite(fd, a->buf, PAGE, off)));
	case OP_FD_READ:
		if (!right_result(a, s, neg(pread(fd, a->buf, PAGE, off))))
			return false;
		return a->got <= 0 || right_content(a, a->buf, s, 0);
	case OP_FD_PUNCH:
		return right_result(a, s, neg(fallocate(fd, PUNCH, off,
						    s->arg[2] * PAGE)));
	default:
		return right_result(a, s, neg(ftruncate(fd, off)));
	}
}

static inline long call_across(struct actor *a, const struct step *s)
{
	char *at = s->arg[1] ? a->region + a->len - PAGE : a->region - PAGE;

	switch (s->arg[0]) {
	case 0:
		return map_anon(at, 2 * PAGE, RW);
	case 1:
		return do_munmap(at, 2 * PAGE);
	case 2:
		return do_mprotect(at, 2 * PAGE, PROT_READ);
	case 3:
		return do_madvise(at, 2 * PAGE, MADV_DONTNEED);
	case 4:
		return neg(mlock(at, 2 * PAGE));
	case 5:
		return neg(msync(at, 2 * PAGE, MS_ASYNC));
	case 6:
		return do_mremap(at, 2 * PAGE, PAGE, 0, NULL);
	case 7:
		/* Out of the region. */
		return do_mremap(at_page(a, s->page), PAGE, PAGE,
				 MREMAP_MAYMOVE | MREMAP_FIXED,
				 a->region + a->len);
	default:
		/* And into it. */
		return do_mremap(a->page, PAGE, PAGE,
				 MREMAP_MAYMOVE | MREMAP_FIXED,
				 at_page(a, s->page));
	}
}

static inline bool run_region(struct actor *a, const struct step *s)
{
	char path[512];

	switch (s->op) {
	case OP_CREATE:
	case OP_ATTACH:
		/* arg: flags, windows' length in regions */
		return right_result(a, s, sys_mshare(a->name, a->region,
						     s->arg[1] * a->len,
						     s->arg[0], 0600));
	case OP_DETACH:
		return right_result(a, s, do_munmap(a->region, a->len));
	case OP_UNLINK:
		return right_result(a, s, sys_mshare_unlink(a->name));
	case OP_RMFILE:
		region_path(path, sizeof(path), a->name);
		return right_result(a, s, neg(unlink(path)));
	default:
		return right_result(a, s, call_across(a, s));
	}
}

static inline bool run_hand_over(struct actor *a, const struct step *s)
{
	pid_t old = getpid(), pid = fork();

	if (pid < 0)
		return wrong(a, "fork: %s", strerror(errno));
	if (pid) {
		if (s->arg[0])
			kill(old, SIGKILL);
		_exit(0);
	}
	/* Wait until the parent and its window are gone. */
	if (!WAIT_FOR(getppid() != old, 20000))
		return wrong(a, "the parent does not exit");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	a->pid[a->self] = getpid();
	return true;
}

static inline void run_shake(const struct step *s)
{
	static const char * const knob[][2] = {
		{ "/proc/sys/vm/compact_memory", "1" },
		{ "/proc/sys/vm/drop_caches", "1" },
		{ "/proc/sys/vm/drop_caches", "3" },
		{ "/sys/kernel/debug/split_huge_pages", "1" },
	};

	spew(knob[s->arg[0] % 4][0], knob[s->arg[0] % 4][1]);
}

/* True if all is as expected; otherwise a->why names the difference. */
static inline bool step_run(struct actor *a, const struct step *s)
{
	a->got = 0;
	a->count++;
	switch (s->op) {
	case OP_READ:
	case OP_WRITE:
		return run_access(a, s, s->op == OP_WRITE);
	case OP_COPY_FROM ... OP_MEM_WRITE:
		return run_copy(a, s);
	case OP_DIO_FROM ... OP_UNPIN:
		return run_hold(a, s);
	case OP_FORK:
		return run_fork(a, s);
	case OP_MMAP ... OP_MINCORE:
		return run_mapping(a, s);
	case OP_FD_WRITE ... OP_FD_TRUNCATE:
		return run_object(a, s);
	case OP_HAND_OVER:
		return run_hand_over(a, s);
	case OP_SHAKE:
		run_shake(s);
		return true;
	default:
		return run_region(a, s);
	}
}

static inline void step_print(const struct step *s, long no)
{
	char args[96];

	snprintf(args, sizeof(args), "%lx %lx %lx %lx", s->arg[0], s->arg[1],
		 s->arg[2], s->arg[3]);
	ksft_print_msg("%ld: driver %d: %s, page %d +%d, of %d; args %s; want %ld, signal %d\n",
		       no, s->who, op_name[s->op], s->page, s->n, s->other,
		       args, s->want, s->sig);
}

#endif /* _MSHARE_STEPS_H */
