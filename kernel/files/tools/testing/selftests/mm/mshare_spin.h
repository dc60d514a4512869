/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A reader that spins on one address of a window, in user mode, on a CPU of its
 * own, so that only a flush from elsewhere renews its TLB.  It finds stale
 * entries without guessing. The process that changes the mapping publishes that
 * the change is done. If an access began after that and still succeeded, it
 * went through a stale entry.
 *
 * Emulated CPUs drop their whole TLB at each write to CR3, and so does every
 * kernel entry under page-table isolation. So the reader makes no system call
 * while it spins, and is SCHED_FIFO. With pti=on such a test cannot fail.
 */
#ifndef _MSHARE_SPIN_H
#define _MSHARE_SPIN_H

#include "mshare_helpers.h"

enum spin_mode {
	SPIN_LOAD_FAULTS,	/* after the change, a load must fault */
	SPIN_STORE_FAULTS,	/* after the change, a store must fault */
	SPIN_LOAD_NEW,		/* after the change, a load gives expect */
	SPIN_LOAD_AFTER,	/* the same, without a load in between */
	SPIN_LOAD_ALWAYS,	/* at all times, a load gives expect */
	SPIN_STORE_ALWAYS,	/* at all times, a store is possible */
};

/* Shared by both sides; each field is written by only one of them. */
struct spin {
	/* the changer's */
	long round;
	long published;
	long mode;
	long *addr;
	long expect;
	long stop;
	/* the reader's */
	long ready;
	long warm;		/* round with the entry surely cached */
	long done;		/* last round that has ended */
	long stale;		/* accesses through a stale entry */
	long bad;		/* values that were never stored */
	long last_bad;
	long sig;		/* of the last round */
	long code;
	long faults;		/* page faults in all rounds */
};

/* Loads until the reader says that its TLB holds the entry. */
#define SPIN_WARM 200

static inline void spin_round(struct spin *s, long round)
{
	long *addr = READ_ONCE(s->addr), mode = READ_ONCE(s->mode);
	long loads = 0, done, val;

	for (;;) {
		/* x86 keeps loads in order: this load comes first. */
		done = __atomic_load_n(&s->published, __ATOMIC_ACQUIRE);
		if (mode == SPIN_LOAD_AFTER && loads > SPIN_WARM &&
		    done < round) {
			__builtin_ia32_pause();
			continue;
		}
		if (mode == SPIN_STORE_FAULTS || mode == SPIN_STORE_ALWAYS) {
			WRITE_ONCE(*addr, loads);
			val = loads;
		} else {
			val = READ_ONCE(*addr);
		}
		if (++loads == SPIN_WARM + 1)
			WRITE_ONCE(s->warm, round);
		switch (mode) {
		case SPIN_LOAD_FAULTS:
		case SPIN_STORE_FAULTS:
			if (done < round)
				continue;
			WRITE_ONCE(s->stale, s->stale + 1);
			return;
		case SPIN_LOAD_NEW:
		case SPIN_LOAD_AFTER:
			if (done < round)
				continue;
			if (val != READ_ONCE(s->expect)) {
				WRITE_ONCE(s->last_bad, val);
				WRITE_ONCE(s->stale, s->stale + 1);
			}
			return;
		case SPIN_LOAD_ALWAYS:
			if (val != READ_ONCE(s->expect)) {
				WRITE_ONCE(s->last_bad, val);
				WRITE_ONCE(s->bad, s->bad + 1);
				return;
			}
			if (done < round)
				continue;
			return;
		case SPIN_STORE_ALWAYS:
			if (done < round)
				continue;
			return;
		}
	}
}

static inline long spin_faults(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_minflt + ru.ru_majflt;
}

static inline void spin_run(struct spin *s)
{
	long last = 0, round, faults;

	for (;;) {
		while ((round = __atomic_load_n(&s->round,
						__ATOMIC_ACQUIRE)) == last) {
			if (READ_ONCE(s->stop))
				return;
			__builtin_ia32_pause();
		}
		/* Not during a round, because it is a system call. */
		faults = spin_faults();
		PROBE(spin_round(s, round));
		WRITE_ONCE(s->faults, s->faults + spin_faults() - faults);
		WRITE_ONCE(s->sig, last_fault.sig);
		WRITE_ONCE(s->code, last_fault.code);
		last = round;
		__atomic_store_n(&s->done, round, __ATOMIC_RELEASE);
	}
}

/* Two CPUs that the process may run on; false if there is only one. */
static inline bool two_cpus(int cpu[2])
{
	cpu_set_t set;
	int i, n = 0;

	if (sched_getaffinity(0, sizeof(set), &set))
		return false;
	for (i = 0; i < CPU_SETSIZE && n < 2; i++)
		if (CPU_ISSET(i, &set))
			cpu[n++] = i;
	return n == 2;
}

static inline int pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return neg(sched_setaffinity(0, sizeof(set), &set));
}

PEER_FN(pf_pin_to)
{
	PEER_UNUSED();
	return pin_to(a);
}

static inline struct spin *spin_alloc(void)
{
	struct spin *s = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1,
			      0);

	return s == MAP_FAILED ? NULL : s;
}

/* Run by the reader's process or thread, which says when it is ready. */
static inline int spin_reader(struct spin *s, int cpu)
{
	struct sched_param prio = { .sched_priority = 1 };
	int ret = pin_to(cpu);

	if (ret)
		return ret;
	/* Without it the test is weaker, not wrong. */
	sched_setscheduler(0, SCHED_FIFO, &prio);
	WRITE_ONCE(s->ready, 1);
	spin_run(s);
	return 0;
}

/*
 * A child that spins on cpu.  It inherits the caller's windows. With attach, it
 * first attaches by that call and is a sharer of its own.
 */
static inline pid_t spin_fork(struct spin *s, int cpu, long (*attach)(void *),
			      void *arg)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	probe_init();
	if (attach && attach(arg))
		_exit(2);
	_exit(spin_reader(s, cpu) ? 1 : 0);
}

/* Begin a round. Return: true once the reader's TLB holds the entry. */
static inline bool spin_begin(struct spin *s, enum spin_mode mode, void *addr,
			      long expect)
{
	long round = s->round + 1;

	WRITE_ONCE(s->mode, mode);
	WRITE_ONCE(s->addr, (long *)addr);
	WRITE_ONCE(s->expect, expect);
	__atomic_store_n(&s->round, round, __ATOMIC_RELEASE);
	WAIT_FOR(READ_ONCE(s->warm) == round || READ_ONCE(s->done) == round,
		 20000);
	return READ_ONCE(s->warm) == round;
}

/* The change is complete: later accesses must see it. */
static inline void spin_publish(struct spin *s)
{
	__atomic_store_n(&s->published, s->round, __ATOMIC_SEQ_CST);
}

/* Wait for the end of the round. Return: true if the reader got there. */
static inline bool spin_end(struct spin *s)
{
	return WAIT_FOR(__atomic_load_n(&s->done, __ATOMIC_ACQUIRE) ==
			s->round, 20000);
}

static inline void spin_stop(struct spin *s)
{
	WRITE_ONCE(s->stop, 1);
}

#endif /* _MSHARE_SPIN_H */
