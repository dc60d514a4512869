/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The two modes of mshare_fuzz.
 *
 * In lockstep, drivers come and go and share the region in turns. They take one
 * step at a time, and after each step the kernel checks the region's tables.  A
 * run depends only on its seed.
 *
 * Concurrently, each worker does the same to pages of its own, among those of
 * the others, and all read the pages of all.
 */
#ifndef _MSHARE_FUZZ_H
#define _MSHARE_FUZZ_H

#include <linux/futex.h>

#include "mshare_gen.h"
#include "mshare_spin.h"

#define DRIVERS		4
#define BATCH		256
#define HANG_MS		120000

/* Faults that the fuzzer must find. */
enum plant { PLANT_NONE, PLANT_LIE, PLANT_BENIGN };

struct fuzz {
	const char *name;
	char *region;
	size_t len;	/* of the region */
	__u64 seed;
	long steps;
	long ms;
	enum plant plant;
	/* the result */
	long done;		/* steps */
	long raced;		/* accesses without an exact expectation */
	long wrong_at;		/* step, from 1; 0: no error */
	char why[320];
	/* steps of each kind, and those that should fail */
	long taken[NR_OPS];
	long failing[NR_OPS];
};

static inline long elapsed(long since)
{
	return now_ms() - since;
}

/* That many steps, however long they take. */
#define FUZZ_AT_LEAST 500

static inline bool enough(const struct fuzz *f, long done, long since)
{
	return (f->steps && done >= f->steps) ||
	       (f->ms && done >= FUZZ_AT_LEAST && elapsed(since) >= f->ms);
}

static inline void *shared_memory(size_t size)
{
	void *p = mmap(NULL, size, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static inline int open_files(int file[NR_FILES])
{
	int k;

	/* Two on a file system, two that are only memory. */
	for (k = 0; k < NR_FILES; k++) {
		file[k] = k % 2 ? temp_file(OBJ_PAGES * PAGE) :
				  memfd_create("object", MFD_CLOEXEC);
		if (file[k] < 0 || ftruncate(file[k], OBJ_PAGES * PAGE))
			return -errno;
	}
	return 0;
}

static inline void close_files(const int file[NR_FILES])
{
	int k;

	for (k = 0; k < NR_FILES; k++)
		close(file[k]);
}

static inline void futex_wait(__u32 *word, __u32 val, long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	syscall(__NR_futex, word, FUTEX_WAIT, val, &ts, NULL, 0);
}

static inline void futex_wake(__u32 *word)
{
	syscall(__NR_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* The kernel's own check, by a file that stays open. Return: 0 if fine. */
static int check_fd = -1;

static inline bool kernel_check(char *why, size_t size)
{
	char buf[256];
	ssize_t n;

	if (check_fd < 0)
		return true;
	n = pread(check_fd, buf, sizeof(buf) - 1, 0);
	if (n < 0)
		n = snprintf(buf, sizeof(buf), "%s", strerror(errno));
	buf[n] = 0;
	if (!strcmp(buf, "ok\n"))
		return true;
	snprintf(why, size, "mshare/check: %.160s", buf);
	return false;
}

/* ---------------------------------------------------------------- lockstep */

struct lockstep {
	struct model model;
	struct step step[BATCH];
	int nr;			/* steps in this batch */
	int next;		/* the step to take */
	long first;		/* number of the first step in this batch */
	bool wrong;
	long got;		/* by the last step */
	__u32 turn[DRIVERS];	/* its driver */
	__u32 over;		/* the batch */
	pid_t pid[MAX_DRIVERS];
	char why[320];
};

static inline void pass_to(__u32 *word)
{
	__atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
	futex_wake(word);
}

static inline bool wait_turn(__u32 *word, long ms)
{
	long since = now_ms();

	while (!__atomic_load_n(word, __ATOMIC_SEQ_CST)) {
		if (elapsed(since) > ms)
			return false;
		futex_wait(word, 0, 1000);
	}
	__atomic_store_n(word, 0, __ATOMIC_SEQ_CST);
	return true;
}

static inline __noreturn void drive(struct lockstep *l, struct actor *a)
{
	int k;

	if (actor_init(a))
		_exit(3);
	while (wait_turn(&l->turn[a->self], 2 * HANG_MS)) {
		while (l->next < l->nr && l->step[l->next].who == a->self) {
			k = l->next;
			a->count = l->first + k;
			if (!step_run(a, &l->step[k]) ||
			    !kernel_check(a->why, sizeof(a->why))) {
				snprintf(l->why, sizeof(l->why), "%s", a->why);
				l->wrong = true;
				break;
			}
			l->got = a->got;
			l->next = k + 1;
		}
		if (l->wrong || l->next == l->nr)
			pass_to(&l->over);
		else
			pass_to(&l->turn[l->step[l->next].who]);
	}
	_exit(4);
}

static inline pid_t start_driver(struct lockstep *l, const struct actor *like,
				 int who)
{
	struct actor a = *like;
	pid_t pid = fork();
	int cpu[2];

	if (pid) {
		l->pid[who] = pid;
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Its CPU idles while others run, and keeps its TLB. */
	if (two_cpus(cpu))
		pin_to(cpu[who % 2]);
	a.self = who;
	drive(l, &a);
}

static inline void end_driver(struct lockstep *l, int who)
{
	kill(l->pid[who], SIGKILL);
	waitpid(l->pid[who], NULL, 0);
}

/* A child may have taken the place of a driver: wait for the old driver. */
static inline void reap(struct lockstep *l)
{
	siginfo_t info;
	int k;

	for (;;) {
		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) ||
		    !info.si_pid)
			return;
		for (k = 0; k < DRIVERS; k++)
			if (l->pid[k] == info.si_pid)
				return;
		waitpid(info.si_pid, NULL, 0);
	}
}

static inline void count_step(long *taken, long *failing,
			      const struct step *s, long got)
{
	__atomic_add_fetch(&taken[s->op], 1, __ATOMIC_RELAXED);
	if (got < 0 || s->sig)
		__atomic_add_fetch(&failing[s->op], 1, __ATOMIC_RELAXED);
}

static inline void tell_counts(const struct fuzz *f)
{
	char line[128];
	int k, n = 0;

	for (k = 0; k < NR_OPS; k++) {
		n += snprintf(line + n, sizeof(line) - n, "%s %ld (%ld)  ",
			      op_name[k], f->taken[k], f->failing[k]);
		if (n > 70 || k == NR_OPS - 1) {
			ksft_print_msg("  %s\n", line);
			n = 0;
		}
	}
}

static inline int draw_batch(struct gen *g, struct lockstep *l,
			     const struct fuzz *f, long done)
{
	bool planted = false;
	int n = 0;

	l->first = done + 1;
	do {
		struct step *s = &l->step[n++];

		next_step(g, s);
		if (f->plant == PLANT_LIE && !planted && done + n >= 500 &&
		    s->op == OP_READ && !s->sig) {
			/* Make the model wrong with one write. */
			s->base[0] += 8ULL << BASE_SHIFT;
			planted = true;
		}
		if (f->steps && done + n == f->steps)
			break;
	} while (n < BATCH && !l->step[n - 1].sync);
	return n;
}

static inline void tell_wrong(const struct lockstep *l, struct fuzz *f)
{
	int k, at = l->next;

	f->wrong_at = l->first + at;
	snprintf(f->why, sizeof(f->why), "step %ld: %.240s", f->wrong_at, l->why);
	if (f->plant)
		return;
	for (k = at > 24 ? at - 24 : 0; k <= at; k++)
		step_print(&l->step[k], l->first + k);
	ksft_print_msg("%s; to repeat: -m lockstep -s %llu -n %ld\n", f->why,
		       (unsigned long long)f->seed, f->wrong_at);
}

static inline int run_lockstep(struct fuzz *f)
{
	struct lockstep *l = shared_memory(sizeof(*l));
	struct actor a = {
		.region = f->region, .len = f->len, .name = f->name,
		.dio = -1,
	};
	struct gen *g = calloc(1, sizeof(*g));
	long since = now_ms(), told = since;
	struct loop_dev loop;
	int k, n, ret;

	if (!l || !g)
		return -ENOMEM;
	ret = open_files(a.file);
	if (ret)
		return ret;
	a.pid = l->pid;
	l->model.workers = 1;
	gen_init(g, &l->model, f->seed, DRIVERS);
	ret = loop_open(&loop, DRIVERS * PAGE);
	if (!ret) {
		a.dio = open(loop.path, O_RDWR | O_DIRECT | O_CLOEXEC);
		g->dio = a.dio >= 0;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (k = 0; k < DRIVERS; k++)
		if (start_driver(l, &a, k) < 0)
			return -errno;

	while (!f->wrong_at && !enough(f, f->done, since)) {
		n = draw_batch(g, l, f, f->done);
		l->nr = n;
		l->next = 0;
		pass_to(&l->turn[l->step[0].who]);
		if (!wait_turn(&l->over, HANG_MS)) {
			snprintf(l->why, sizeof(l->why), "it hangs");
			l->wrong = true;
		}
		if (l->wrong) {
			tell_wrong(l, f);
			break;
		}
		if (l->step[n - 1].sync)
			apply_step(g, &l->step[n - 1], l->got);
		for (k = 0; k < n; k++)
			count_step(f->taken, f->failing, &l->step[k],
				   l->step[k].want);
		f->done += n;
		reap(l);
		if (one_in(g, 40)) {
			/* Kill a driver and start another. */
			k = rnd(g, DRIVERS);
			end_driver(l, k);
			if (g->donor == k) {
				g->donor = -1;
				unmap_all(&l->model);
			}
			share(g, k, OUT);
			g->driver[k].pinned = false;
			if (start_driver(l, &a, k) < 0)
				return -errno;
		}
		if (elapsed(told) > 60000) {
			told = now_ms();
			ksft_print_msg("%ld steps, %ld a second\n", f->done,
				       f->done * 1000 / elapsed(since));
		}
	}
	for (k = 0; k < DRIVERS; k++)
		end_driver(l, k);
	reap(l);
	if (g->dio) {
		close(a.dio);
		loop_close(&loop);
	}
	close_files(a.file);
	munmap(l, sizeof(*l));
	free(g);
	region_names(true);
	return 0;
}

/* -------------------------------------------------------------- concurrent */

struct concurrent {
	struct model model[NR_WORKERS];
	int workers;
	bool benign;
	bool stop;
	bool wrong;
	long wrong_at;
	long done;		/* steps and reads of pages of other workers */
	long raced;
	long taken[NR_OPS];
	long failing[NR_OPS];
	pid_t pid[NR_WORKERS];
	__u32 lock;
	char why[320];
};

static inline __noreturn void
say_wrong(struct concurrent *c, const char *who, long at, const char *why)
{
	/* The first error is reported. */
	if (!__atomic_exchange_n(&c->lock, 1, __ATOMIC_SEQ_CST)) {
		c->wrong_at = at;
		snprintf(c->why, sizeof(c->why), "%s, step %ld: %.240s", who, at,
			 why);
		__atomic_store_n(&c->wrong, true, __ATOMIC_SEQ_CST);
	}
	_exit(1);
}

static inline __u32 seq_of(struct model *m, int page)
{
	return __atomic_load_n(&m->seq[page / SEQ_PAGES], __ATOMIC_SEQ_CST);
}

/* What a page may hold while its worker changes it. */
static inline bool plausible(struct actor *a, int page, int worker)
{
	unsigned int w;
	long val;
	__u64 got;

	for (w = 0; w < WORDS; w += 73) {
		if (probe_load(at_page(a, page) + w * 8, &val))
			return last_fault.sig == SIGBUS ?
			       last_fault.code == BUS_ADRERR :
			       last_fault.code == SEGV_ACCERR;
		got = val;
		if (!got)
			continue;
		if ((got & (WORDS - 1)) != w || worker_of(got) != worker)
			return wrong(a, "page %d of worker %d, word %u is %llx",
				     page, worker, w, (unsigned long long)got);
	}
	return true;
}

/*
 * Read a page of another worker. It must be exactly as the model says unless it
 * changed meanwhile.  Return: true if all is well.
 */
static inline bool read_other(struct concurrent *c, struct actor *a,
			      struct gen *g, bool *raced)
{
	int page = segs[1].start + rnd(g, segs[1].pages), worker, k;
	struct gen theirs = { .nr = 1, .donor = -1 };
	struct step s = { .nr = 1 };
	__u32 seq;

	if (one_in(g, 2))
		page = segs[2 * rnd(g, 2)].start + rnd(g, HUGE / 4) * rnd(g, 5);
	/* The first page stays to keep its table, and is in no model. */
	if (c->benign)
		page = 1 + rnd(g, 63);
	worker = owner_of(c->workers, page);
	theirs.m = &c->model[worker];
	theirs.driver[0].share = SHARE_RW;
	for (k = 0; k < 8; k++) {
		seq = seq_of(theirs.m, page);
		if (seq & 1)
			continue;
		memset(&s, 0, sizeof(s));
		s.page = page;
		switch (access_of(&theirs, 0, page, false)) {
		case ACC_OK:
			s.base[0] = content(theirs.m, page, &s.zero_ok[0]);
			break;
		case ACC_SEGV:
			s.sig = SIGSEGV;
			s.code = SEGV_ACCERR;
			break;
		default:
			s.sig = SIGBUS;
			s.code = BUS_ADRERR;
		}
		s.nr = 1;
		a->count++;
		if (seq_of(theirs.m, page) != seq)
			continue;
		*raced = false;
		if (run_access(a, &s, false))
			return true;
		/* An error, unless it has changed meanwhile. */
		if (seq_of(theirs.m, page) == seq)
			return false;
	}
	*raced = true;
	return plausible(a, page, worker);
}

static inline void count_up(long *what, long by)
{
	__atomic_add_fetch(what, by, __ATOMIC_RELAXED);
}

static inline struct actor actor_of(const struct fuzz *f)
{
	return (struct actor) {
		.region = f->region, .len = f->len, .name = f->name,
		.dio = -1,
	};
}

/* Mappings that stay, so that no table is freed. */
static inline void anchor(struct gen *g, struct actor *a)
{
	struct mpage like = { .kind = K_SHARED, .prot = PROT_READ };
	int page;

	for (page = 0; page < ARENA_PAGES; page += HUGE) {
		if (map_fd(at_page(a, page), PAGE, PROT_READ, MAP_SHARED,
			   a->file[0], 0))
			_exit(8);
		seq_begin(g->m, page, 1);
		map_pages(g->m, page, 1, &like);
	}
	seq_end(g->m);
}

static inline __noreturn void work(struct concurrent *c, struct fuzz *f,
				   int self)
{
	struct gen *g = calloc(1, sizeof(*g));
	struct actor a = actor_of(f);
	struct step s;
	bool raced;
	long no;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	c->model[self].worker = self;
	c->model[self].workers = c->workers;
	gen_init(g, &c->model[self], f->seed + self * 7919, 1);
	g->concurrent = true;
	g->named = true;
	g->benign = f->plant == PLANT_BENIGN;
	a.self = self;
	a.pid = &c->pid[self];
	c->pid[self] = getpid();
	if (open_files(a.file) || actor_init(&a) ||
	    sys_mshare(f->name, f->region, f->len, O_RDWR, 0))
		_exit(3);
	share(g, 0, SHARE_RW);
	if (g->benign)
		anchor(g, &a);
	for (no = 1; !READ_ONCE(c->stop); no++) {
		if (g->driver[0].share != OUT && one_in(g, 4)) {
			if (!read_other(c, &a, g, &raced))
				say_wrong(c, "a worker's read", no, a.why);
			count_up(raced ? &c->raced : &c->done, 1);
			continue;
		}
		next_step(g, &s);
		if (!step_run(&a, &s)) {
			step_print(&s, no);
			say_wrong(c, "a worker", no, a.why);
		}
		if (s.sync)
			apply_step(g, &s, a.got);
		seq_end(g->m);
		count_step(c->taken, c->failing, &s, a.got);
		count_up(&c->done, 1);
		if (no % 4 == 0 && !kernel_check(a.why, sizeof(a.why)))
			say_wrong(c, "a worker", no, a.why);
	}
	_exit(0);
}

/* Reads all pages, through a read-only window. */
static inline __noreturn void watch(struct concurrent *c, struct fuzz *f,
				    int oflag, long most, int how)
{
	static const char * const argv[] = { "mshare_fuzz", "--gone", NULL };
	struct gen g = { .rng = f->seed ^ (__u64)getpid() };
	struct actor a = actor_of(f);
	char where[32];
	bool raced;
	long no;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sys_mshare(f->name, f->region, f->len, oflag, 0))
		_exit(3);
	for (no = 1; !READ_ONCE(c->stop) && no != most; no++) {
		if (!read_other(c, &a, &g, &raced))
			say_wrong(c, "a reader", no, a.why);
		count_up(raced ? &c->raced : &c->done, 1);
		if (oflag == O_RDONLY && one_in(&g, 64)) {
			/* It may not be able to write to any page. */
			if (!probe_store(at_page(&a, rnd(&g, ARENA_PAGES)), 1))
				say_wrong(c, "a reader", no, "it can write");
			count_up(&c->done, 1);
		}
	}
	if (how == EXIT_EXEC) {
		snprintf(where, sizeof(where), "%p", f->region);
		execl("/proc/self/exe", argv[0], argv[1], where, NULL);
		_exit(2);
	}
	if (how == EXIT_PLAIN)
		munmap(f->region, f->len);
	_exit(0);
}

/* Sharers that attach, read and exit in various ways, often during a read. */
static inline __noreturn void churn(struct concurrent *c, struct fuzz *f)
{
	struct gen g = { .rng = f->seed + 1 };
	int status;
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!READ_ONCE(c->stop)) {
		pid = fork();
		if (pid < 0)
			_exit(5);
		if (!pid)
			watch(c, f, one_in(&g, 2) ? O_RDONLY : O_RDWR,
			      1 + rnd(&g, 200), rnd(&g, NR_EXITS));
		rnd64(&g);
		if (one_in(&g, 2)) {
			nap_ms(rnd(&g, 40));
			kill(pid, SIGKILL);
		}
		if (waitpid(pid, &status, 0) != pid)
			_exit(6);
		if (status && status != SIGKILL)
			_exit(WEXITSTATUS(status) ?: 7);
		count_up(&c->done, 1);
	}
	_exit(0);
}

static inline pid_t start(struct concurrent *c, struct fuzz *f, int cpu,
			  void (*what)(struct concurrent *, struct fuzz *, int),
			  int arg)
{
	struct sched_param prio = { .sched_priority = 1 };
	pid_t pid = fork();

	if (pid)
		return pid;
	if (cpu >= 0) {
		pin_to(cpu);
		/* Only a flush may renew its TLB. */
		sched_setscheduler(0, SCHED_FIFO, &prio);
	}
	what(c, f, arg);
	_exit(9);
}

static inline void start_watch(struct concurrent *c, struct fuzz *f, int arg)
{
	(void)arg;
	watch(c, f, O_RDONLY, 0, EXIT_PLAIN);
}

static inline void start_churn(struct concurrent *c, struct fuzz *f, int arg)
{
	(void)arg;
	churn(c, f);
}

static inline void start_work(struct concurrent *c, struct fuzz *f, int arg)
{
	work(c, f, arg);
}

/*
 * With PLANT_BENIGN: a worker that frees nothing, and a reader that spins on
 * another CPU.
 */
static inline int run_concurrent(struct fuzz *f)
{
	struct concurrent *c = shared_memory(sizeof(*c));
	bool benign = f->plant == PLANT_BENIGN;
	long since = now_ms(), told = since;
	int cpu[2] = { -1, -1 }, k, n = 0, status, ret;
	pid_t pid[NR_WORKERS + 2];

	if (!c)
		return -ENOMEM;
	ret = sys_mshare(f->name, f->region, f->len,
			 O_CREAT | O_EXCL | O_RDWR, 0600);
	if (!ret)
		ret = do_munmap(f->region, f->len);
	if (ret)
		return ret;
	if (benign && !two_cpus(cpu))
		return -ENODEV;
	/* A single worker would own all pages, as in lockstep. */
	c->benign = benign;
	c->workers = benign ? 2 : NR_WORKERS;
	for (k = 0; k < c->workers; k++) {
		c->model[k].workers = c->workers;
		c->model[k].worker = k;
	}
	for (k = 0; k < (benign ? 1 : c->workers); k++)
		pid[n++] = start(c, f, -1, start_work, k);
	pid[n++] = start(c, f, cpu[1], start_watch, 0);
	if (!benign)
		pid[n++] = start(c, f, -1, start_churn, 0);

	while (!READ_ONCE(c->wrong) && !enough(f, READ_ONCE(c->done), since)) {
		nap_ms(20);
		/* All stay until the end. */
		if (waitpid(-1, &status, WNOHANG) > 0 && !c->wrong) {
			snprintf(c->why, sizeof(c->why),
				 "a process has exited with status %x", status);
			c->wrong_at = -1;
			break;
		}
		if (elapsed(told) > 60000) {
			told = now_ms();
			ksft_print_msg("%ld steps, %ld a second\n", c->done,
				       c->done * 1000 / elapsed(since));
		}
	}
	WRITE_ONCE(c->stop, true);
	for (k = 0; k < n; k++) {
		if (!WAIT_FOR(waitpid(pid[k], NULL, WNOHANG), HANG_MS)) {
			c->wrong_at = -1;
			snprintf(c->why, sizeof(c->why), "it hangs");
			kill(pid[k], SIGKILL);
			waitpid(pid[k], NULL, 0);
		}
	}
	f->done = c->done;
	f->raced = c->raced;
	memcpy(f->taken, c->taken, sizeof(f->taken));
	memcpy(f->failing, c->failing, sizeof(f->failing));
	f->wrong_at = c->wrong_at;
	if (f->wrong_at) {
		snprintf(f->why, sizeof(f->why), "%s", c->why);
		if (!f->plant)
			ksft_print_msg("%s; seed %llu\n", f->why,
				       (unsigned long long)f->seed);
	}
	munmap(c, sizeof(*c));
	sys_mshare_unlink(f->name);
	return 0;
}

#endif /* _MSHARE_FUZZ_H */
