/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A writer and a reader that work in a region while its pages are moved or
 * changed: both see what was stored, and no store is lost.
 */
#ifndef _MSHARE_WORK_H
#define _MSHARE_WORK_H

#include "mshare_helpers.h"

#define WORK_PAGES 512L

/* Shared by a test and the processes that work in the region meanwhile. */
struct work {
	long stop;
	long rounds[2];		/* of the writer, of the reader */
	long bad;		/* seen by either of them */
};

/* Pages of two words: one that stays, and one that the writer increments. */
static inline void fill_work(char *at)
{
	long i;

	for (i = 0; i < WORK_PAGES; i++) {
		WRITE_ONCE(*(long *)(at + i * PAGE), i + 1);
		WRITE_ONCE(*(long *)(at + i * PAGE + 8), 0L);
	}
}

static inline __noreturn void work(struct work *s, char *at, bool write)
{
	long i, n, *word, count[WORK_PAGES] = {};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (n = 1; !READ_ONCE(s->stop); n++) {
		for (i = 0; i < WORK_PAGES; i++) {
			word = (long *)(at + i * PAGE);
			if (READ_ONCE(word[0]) != i + 1)
				__atomic_add_fetch(&s->bad, 1,
						   __ATOMIC_SEQ_CST);
			if (write) {
				WRITE_ONCE(word[1], READ_ONCE(word[1]) + 1);
				continue;
			}
			/* The counts never decrease. */
			if (READ_ONCE(word[1]) < count[i])
				__atomic_add_fetch(&s->bad, 1,
						   __ATOMIC_SEQ_CST);
			count[i] = READ_ONCE(word[1]);
		}
		WRITE_ONCE(s->rounds[!write], n);
	}
	_exit(0);
}

/* A writer by fork and a reader by name; both are running when this returns. */
static inline long begin_work(struct work *s, pid_t pid[2], const char *name,
			      char *at, char *addr, size_t len)
{
	int i;

	for (i = 0; i < 2; i++) {
		pid[i] = fork();
		if (pid[i] < 0)
			return -errno;
		if (pid[i])
			continue;
		if (i && (do_munmap(addr, len) ||
			  sys_mshare(name, addr, len, O_RDONLY, 0)))
			_exit(1);
		work(s, at, !i);
	}
	return WAIT_FOR(READ_ONCE(s->rounds[0]) && READ_ONCE(s->rounds[1]),
			20000) ? 0 : -ETIME;
}

/* Let both run two more rounds and exit. Return: the number of wrong pages. */
static inline long end_work(struct work *s, pid_t pid[2], char *at)
{
	long w = READ_ONCE(s->rounds[0]) + 2, r = READ_ONCE(s->rounds[1]) + 2;
	int i, status;
	long bad = 0;

	if (!WAIT_FOR(READ_ONCE(s->rounds[0]) >= w &&
		      READ_ONCE(s->rounds[1]) >= r, 20000))
		return -ETIME;
	WRITE_ONCE(s->stop, 1);
	for (i = 0; i < 2; i++)
		if (waitpid(pid[i], &status, 0) != pid[i] || status)
			return -ECHILD;
	/* No count was lost on a page that was copied away. */
	for (i = 0; i < WORK_PAGES; i++) {
		bad += *(long *)(at + i * PAGE) != i + 1;
		bad += *(long *)(at + i * PAGE + 8) != s->rounds[0];
	}
	return bad + s->bad;
}

static inline struct work *new_work(void)
{
	struct work *s = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1,
			       0);

	return s == MAP_FAILED ? NULL : s;
}

#endif /* _MSHARE_WORK_H */
