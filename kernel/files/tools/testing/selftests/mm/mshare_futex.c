// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: futexes between sharers.
 */
#include "mshare_helpers.h"

#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <pthread.h>

static long futex(void *word, int op, unsigned int val,
		  const struct timespec *timeout)
{
	return neg(syscall(__NR_futex, word, op, val, timeout, NULL, 0));
}

PEER_FN(pf_futex)
{
	PEER_UNUSED();
	return futex((void *)a, b, c, NULL);
}

/* Sleep on a word that holds val, for ten seconds at most. */
PEER_FN(pf_wait)
{
	struct timespec timeout = { .tv_sec = 10 };

	PEER_UNUSED();
	return futex((void *)a, b, c, &timeout);
}

/*
 * One sharer sleeps and the other wakes it. As soon as the sleeper is there,
 * the wake call returns 1; the sleeper's call then returns 0.
 */
static long wake_peer(struct peer *sleeper, void *word, int private,
		      struct peer *waker)
{
	long woken = 0, end = now_ms() + 8000, ret;

	ret = peer_post(sleeper, PEER_REQ(pf_wait, (long)word,
					  FUTEX_WAIT | private, 0));
	while (!ret && !woken && now_ms() < end) {
		woken = waker ? peer_call(waker, pf_futex, (long)word,
					  FUTEX_WAKE | private, 1) :
				futex(word, FUTEX_WAKE | private, 1, NULL);
		if (!woken)
			nap_ms(2);
	}
	ret = peer_wait(sleeper);
	if (woken != 1)
		return -ETIME;
	return ret;
}

/* Kinds of memory, each with a futex on its first word. */
static long make_words(char *base, int fd)
{
	return map_anon(base, PAGE, RW) ?:
	       map_shmem(base + MEG, PAGE, RW) ?:
	       map_fd(base + 2 * MEG, PAGE, RW, MAP_SHARED, fd, 0) ?:
	       map_fd(base + 3 * MEG, PAGE, RW, MAP_PRIVATE, fd, 0) ?:
	       probe_store(base, 0) + probe_store(base + MEG, 0) +
	       probe_store(base + 2 * MEG, 0) + probe_store(base + 3 * MEG, 0);
}

TEST_F(mshare, private_between_sharers)
{
	struct peer p, q;
	int fd = temp_file(PAGE), i;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, peer_start(&q));
	MAKE_SHARED();
	ATTACH_PEER(&q, O_RDWR);
	ASSERT_EQ(0, make_words(self->addr, fd));
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(0, wake_peer(&p, self->addr + i * MEG,
				       FUTEX_PRIVATE_FLAG, NULL))
			TH_LOG("memory %d", i);
		EXPECT_EQ(0, wake_peer(&p, self->addr + i * MEG,
				       FUTEX_PRIVATE_FLAG, &q))
			TH_LOG("memory %d, between peers", i);
	}
	/* The word is compared, and only sleeping tasks are woken. */
	EXPECT_EQ(-EAGAIN, futex(self->addr, FUTEX_WAIT_PRIVATE, 1, NULL));
	EXPECT_EQ(0, futex(self->addr, FUTEX_WAKE_PRIVATE, 1, NULL));
	close(fd);
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, peer_stop(&q));
}

TEST_F(mshare, shared_between_sharers)
{
	struct peer p, q;
	int fd = temp_file(PAGE), i;
	char *own;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, peer_start(&q));
	MAKE_SHARED();
	ATTACH_PEER(&q, O_RDWR);
	ASSERT_EQ(0, make_words(self->addr, fd));
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(0, wake_peer(&p, self->addr + i * MEG, 0, NULL))
			TH_LOG("memory %d", i);
		EXPECT_EQ(0, wake_peer(&p, self->addr + i * MEG, 0, &q))
			TH_LOG("memory %d, between peers", i);
	}
	/* A futex in a file is the file's, wherever it is mapped. */
	own = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, own);
	ASSERT_EQ(0, peer_post(&p, PEER_REQ(pf_wait,
					    (long)self->addr + 2 * MEG,
					    FUTEX_WAIT, 0)));
	EXPECT_TRUE(WAIT_FOR(futex(own, FUTEX_WAKE, 1, NULL) == 1, 8000));
	EXPECT_EQ(0, peer_wait(&p));
	close(fd);
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, peer_stop(&q));
}

/* A forked sharer, and a reader that may only read the word. */
TEST_F(mshare, forked_and_read_only_sharers)
{
	struct timespec timeout = { .tv_sec = 10 };
	struct peer p;
	int status;
	pid_t pid;

	ASSERT_EQ(0, peer_start(&p));
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDONLY);
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, 0));
	EXPECT_EQ(0, wake_peer(&p, self->addr, FUTEX_PRIVATE_FLAG, NULL));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(futex(self->addr, FUTEX_WAIT_PRIVATE, 0, &timeout) != 0);
	EXPECT_TRUE(WAIT_FOR(futex(self->addr, FUTEX_WAKE_PRIVATE, 1,
				   NULL) == 1, 8000));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	/* The reader wakes a sleeper. */
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(futex(self->addr, FUTEX_WAIT_PRIVATE, 0, &timeout) != 0);
	EXPECT_TRUE(WAIT_FOR(peer_call(&p, pf_futex, (long)self->addr,
				       FUTEX_WAKE_PRIVATE, 1) == 1, 8000));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, peer_stop(&p));
}

/* Threads of several processes at one mutex and one condition. */
struct shop {
	pthread_mutex_t lock;
	pthread_cond_t turn;
	long count;
	long whose;
};

TEST_F(mshare, process_shared_mutex_and_condition)
{
	const int n = 4, turns = scaled(400, 100);
	struct shop *shop = (struct shop *)self->addr;
	pthread_mutexattr_t ma;
	pthread_condattr_t ca;
	int i, j, status;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	pthread_mutexattr_init(&ma);
	pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED);
	pthread_condattr_init(&ca);
	pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED);
	ASSERT_EQ(0, pthread_mutex_init(&shop->lock, &ma));
	ASSERT_EQ(0, pthread_cond_init(&shop->turn, &ca));
	for (i = 0; i < n; i++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (pid)
			continue;
		for (j = 0; j < turns; j++) {
			pthread_mutex_lock(&shop->lock);
			while (shop->whose != i)
				pthread_cond_wait(&shop->turn, &shop->lock);
			shop->count++;
			shop->whose = (i + 1) % n;
			pthread_cond_broadcast(&shop->turn);
			pthread_mutex_unlock(&shop->lock);
		}
		_exit(0);
	}
	for (i = 0; i < n; i++) {
		ASSERT_LT(0, wait(&status));
		EXPECT_EQ(0, status);
	}
	EXPECT_EQ((long)n * turns, shop->count);
}

static bool sleeps(int tid)
{
	char path[64], buf[512], *state;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	if (!tid || slurp(path, buf, sizeof(buf)) <= 0)
		return false;
	state = strrchr(buf, ')');
	return state && !strncmp(state, ") S", 3);
}

/* A PI lock passes to the next waiter when its owner dies. */
TEST_F(mshare, pi_owner_dies)
{
	static const int private[] = { FUTEX_PRIVATE_FLAG, 0 };
	struct peer owner, waiter;
	struct peer_req lock;
	unsigned int i, word;

	for (i = 0; i < ARRAY_SIZE(private); i++) {
		ASSERT_EQ(0, peer_start(&owner));
		ASSERT_EQ(0, peer_start(&waiter));
		MAKE_REGION();
		ATTACH_PEER(&owner, O_RDWR);
		ATTACH_PEER(&waiter, O_RDWR);
		ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
		ASSERT_EQ(0, probe_store(self->addr, 0));
		ASSERT_EQ(0, peer_call(&owner, pf_futex, (long)self->addr,
				       FUTEX_LOCK_PI | private[i], 0));
		word = *(unsigned int *)self->addr;
		EXPECT_EQ((unsigned int)owner.pid, word & FUTEX_TID_MASK);
		lock = (struct peer_req){
			.fn = pf_futex,
			.arg = { (long)self->addr, FUTEX_LOCK_PI | private[i] },
		};
		ASSERT_EQ(0, peer_post(&waiter, &lock));
		EXPECT_TRUE(WAIT_FOR(READ_ONCE(*(unsigned int *)self->addr) &
				     FUTEX_WAITERS, 8000));
		/*
		 * Set before the owner is looked up, which gives ESRCH if it
		 * has exited.
		 */
		EXPECT_TRUE(WAIT_FOR(sleeps(waiter.pid), 8000));
		EXPECT_EQ(SIGKILL, peer_kill(&owner));
		EXPECT_EQ(0, peer_wait(&waiter));
		word = READ_ONCE(*(unsigned int *)self->addr);
		EXPECT_EQ((unsigned int)waiter.pid, word & FUTEX_TID_MASK);
		EXPECT_EQ(0, peer_call(&waiter, pf_futex, (long)self->addr,
				       FUTEX_UNLOCK_PI | private[i], 0));
		word = READ_ONCE(*(unsigned int *)self->addr);
		EXPECT_EQ(0U, word & FUTEX_TID_MASK);
		EXPECT_EQ(0, peer_stop(&waiter));
		EXPECT_EQ(0, sys_mshare_unlink(self->name));
	}
}

/* A robust mutex tells the next owner that the previous owner died. */
TEST_F(mshare, robust_list)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)self->addr;
	pthread_mutexattr_t ma;
	int pi, status, pfd[2];
	pid_t pid;
	char byte;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	for (pi = 0; pi < 2; pi++) {
		ASSERT_EQ(0, pipe(pfd));
		memset(lock, 0, sizeof(*lock));
		pthread_mutexattr_init(&ma);
		pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED);
		pthread_mutexattr_setrobust(&ma, PTHREAD_MUTEX_ROBUST);
		if (pi)
			pthread_mutexattr_setprotocol(&ma,
						      PTHREAD_PRIO_INHERIT);
		ASSERT_EQ(0, pthread_mutex_init(lock, &ma));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			if (pthread_mutex_lock(lock) ||
			    write(pfd[1], "x", 1) != 1)
				_exit(1);
			pause();
		}
		ASSERT_EQ(1, read(pfd[0], &byte, 1));
		EXPECT_EQ(EBUSY, pthread_mutex_trylock(lock));
		kill(pid, SIGKILL);
		EXPECT_EQ(EOWNERDEAD, pthread_mutex_lock(lock));
		EXPECT_EQ(0, pthread_mutex_consistent(lock));
		EXPECT_EQ(0, pthread_mutex_unlock(lock));
		EXPECT_EQ(0, pthread_mutex_lock(lock));
		EXPECT_EQ(0, pthread_mutex_unlock(lock));
		EXPECT_EQ(pid, waitpid(pid, &status, 0));
		close(pfd[0]);
		close(pfd[1]);
	}
}

/* Another region at the same address, and the same address without a region. */
TEST_F(mshare, no_match_after_reuse)
{
	static const int private[] = { FUTEX_PRIVATE_FLAG, 0 };
	struct peer p, other, loner;
	long a = (long)self->addr;
	unsigned int i;
	int j, woken;

	ASSERT_EQ(0, peer_start(&other));
	ASSERT_EQ(0, peer_start(&loner));
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, 0));
	ASSERT_EQ(0, peer_call(&other, pf_mshare, (long)self->name2, a,
			       (long)self->len, O_CREAT | O_RDWR, 0600));
	ASSERT_EQ(0, peer_call(&other, pf_map_anon, a, PAGE, RW));
	ASSERT_EQ(0, peer_store(&other, self->addr, 0));
	ASSERT_EQ(0, peer_call(&loner, pf_map_anon, a, PAGE, RW));
	ASSERT_EQ(0, peer_store(&loner, self->addr, 0));
	for (i = 0; i < ARRAY_SIZE(private); i++) {
		ASSERT_EQ(0, peer_post(&p, PEER_REQ(pf_wait, a,
						    FUTEX_WAIT | private[i],
						    0)));
		for (j = 0, woken = 0; j < 50; j++) {
			woken += peer_call(&other, pf_futex, a,
					   FUTEX_WAKE | private[i], 1);
			woken += peer_call(&loner, pf_futex, a,
					   FUTEX_WAKE | private[i], 1);
			nap_ms(2);
		}
		EXPECT_EQ(0, woken);
		EXPECT_TRUE(WAIT_FOR(futex(self->addr, FUTEX_WAKE | private[i],
					   1, NULL) == 1, 8000));
		EXPECT_EQ(0, peer_wait(&p));
	}
	/* The region is freed while a task sleeps that no process can wake. */
	ASSERT_EQ(0, peer_post(&p, PEER_REQ(pf_wait, a, FUTEX_WAIT_PRIVATE,
					    0)));
	nap_ms(50);
	EXPECT_EQ(SIGKILL, peer_kill(&p));
	ASSERT_EQ(0, sys_mshare_unlink(self->name));
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	EXPECT_EQ(0, futex(self->addr, FUTEX_WAKE_PRIVATE, 10, NULL));
	EXPECT_EQ(0, futex(self->addr, FUTEX_WAKE, 10, NULL));
	EXPECT_EQ(0, peer_stop(&other));
	EXPECT_EQ(0, peer_stop(&loner));
}

struct gate_pi {
	unsigned int *word;
	bool *stop;
	long taken, failed;
};

/* A thread that sleeps on a word, and its result. */
struct sleeper {
	pthread_t thread;
	unsigned int *word;
	int op;
	unsigned int bitset;
	int tid;		/* once it is about to sleep */
	long ret;
	bool done;
};

static void *sleep_on_word(void *arg)
{
	struct timespec deadline;
	struct sleeper *s = arg;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += 60;
	WRITE_ONCE(s->tid, (int)syscall(__NR_gettid));
	s->ret = neg(syscall(__NR_futex, s->word, s->op, 0, &deadline, NULL,
			     s->bitset));
	WRITE_ONCE(s->done, true);
	return NULL;
}

/*
 * Memory with sleepers becomes a region. The sleepers' keys name the process,
 * the wakers' keys the region. So each sleeper is woken once without a reason,
 * as the call allows, and no other task is.
 */
TEST_F(mshare, sleepers_woken_when_donated)
{
	struct sleeper s[] = {
		{ .op = FUTEX_WAIT_BITSET_PRIVATE, .bitset = 1 },
		{ .op = FUTEX_WAIT_BITSET, .bitset = 2 },
		{ .op = FUTEX_WAIT_BITSET_PRIVATE, .bitset = 4 },
		{ .op = FUTEX_WAIT_BITSET, .bitset = 4 },
	};
	const int inside = 2, all = ARRAY_SIZE(s);
	unsigned int *outside;
	struct peer p;
	int i;

	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	outside = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, outside);
	for (i = 0; i < all; i++) {
		s[i].word = i < inside ? (unsigned int *)self->addr + 16 * i :
					 outside + i;
		ASSERT_EQ(0, pthread_create(&s[i].thread, NULL, sleep_on_word,
					    &s[i]));
	}
	for (i = 0; i < all; i++)
		ASSERT_TRUE(WAIT_FOR(sleeps(READ_ONCE(s[i].tid)), 10000));

	MAKE_REGION();
	for (i = 0; i < inside; i++) {
		EXPECT_TRUE(WAIT_FOR(READ_ONCE(s[i].done), 10000))
			TH_LOG("sleeper %d", i);
		EXPECT_EQ(0, s[i].ret);
	}
	nap_ms(scaled(20, 100));
	for (i = inside; i < all; i++) {
		EXPECT_FALSE(READ_ONCE(s[i].done));
		EXPECT_EQ(1, futex(s[i].word, i == inside ? FUTEX_WAKE_PRIVATE :
				   FUTEX_WAKE, 1, NULL));
	}
	for (i = 0; i < all; i++)
		ASSERT_EQ(0, pthread_join(s[i].thread, NULL));

	/* From now on the region's key is used everywhere. */
	ATTACH_PEER(&p, O_RDWR);
	EXPECT_EQ(0, wake_peer(&p, self->addr, FUTEX_PRIVATE_FLAG, NULL));
	EXPECT_EQ(0, wake_peer(&p, self->addr, 0, NULL));
}

/*
 * A task that waits on a plain word to be requeued to a PI futex does not
 * depend on an owner yet, and can be woken as well.
 */
static void *wait_for_requeue(void *arg)
{
	struct sleeper *s = arg;

	WRITE_ONCE(s->tid, (int)syscall(__NR_gettid));
	s->ret = neg(syscall(__NR_futex, s->word, s->op, 0, NULL, s->word + 1,
			     0));
	WRITE_ONCE(s->done, true);
	return NULL;
}

TEST_F(mshare, requeue_pi_waiters_woken_when_donated)
{
	struct sleeper s[] = {
		{ .op = FUTEX_WAIT_REQUEUE_PI_PRIVATE },
		{ .op = FUTEX_WAIT_REQUEUE_PI },
	};
	size_t i;

	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	for (i = 0; i < ARRAY_SIZE(s); i++) {
		s[i].word = (unsigned int *)self->addr + 16 * i;
		ASSERT_EQ(0, pthread_create(&s[i].thread, NULL,
					    wait_for_requeue, &s[i]));
	}
	for (i = 0; i < ARRAY_SIZE(s); i++)
		ASSERT_TRUE(WAIT_FOR(sleeps(READ_ONCE(s[i].tid)), 10000));
	MAKE_REGION();
	for (i = 0; i < ARRAY_SIZE(s); i++) {
		ASSERT_TRUE(WAIT_FOR(READ_ONCE(s[i].done), 10000))
			TH_LOG("waiter %zu", i);
		ASSERT_EQ(0, pthread_join(s[i].thread, NULL));
		/* "Woken by neither": try again. */
		EXPECT_EQ(-EAGAIN, s[i].ret);
	}
}

/* Take and release a PI futex until stopped. */
static void *contend(void *arg)
{
	struct gate_pi *g = arg;
	long ret;

	while (!READ_ONCE(*g->stop)) {
		ret = futex(g->word, FUTEX_LOCK_PI_PRIVATE, 0, NULL);
		if (ret) {
			g->failed = ret;
			break;
		}
		g->taken++;
		ret = futex(g->word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL);
		if (ret) {
			g->failed = ret;
			break;
		}
	}
	return NULL;
}

/*
 * A thread takes a PI futex over and over while its memory becomes a region,
 * and then another process takes it, too. No task may wait by a key that no
 * other task uses.
 */
TEST_F(mshare, pi_taken_while_donated)
{
	const int rounds = scaled(60, 15);
	struct gate_pi gate[2];
	pthread_t thread[2];
	bool stop;
	int round, i;

	for (round = 0; round < rounds; round++) {
		stop = false;
		memset(gate, 0, sizeof(gate));
		ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
		ASSERT_EQ(0, probe_store(self->addr, 0));
		for (i = 0; i < 2; i++) {
			gate[i].word = (unsigned int *)self->addr;
			gate[i].stop = &stop;
		}
		ASSERT_EQ(0, pthread_create(&thread[0], NULL, contend,
					    &gate[0]));
		if (round % 2)
			ASSERT_TRUE(WAIT_FOR(READ_ONCE(gate[0].taken) > 3,
					     10000));
		MAKE_REGION();
		ASSERT_EQ(0, pthread_create(&thread[1], NULL, contend,
					    &gate[1]));
		EXPECT_TRUE(WAIT_FOR(READ_ONCE(gate[1].taken) > 3, 20000));
		WRITE_ONCE(stop, true);
		for (i = 0; i < 2; i++) {
			ASSERT_EQ(0, pthread_join(thread[i], NULL));
			EXPECT_EQ(0, gate[i].failed)
				TH_LOG("round %d, thread %d", round, i);
		}
		EXPECT_EQ(0, READ_ONCE(*(int *)self->addr));
		ASSERT_EQ(0, sys_mshare_unlink(self->name));
		ASSERT_EQ(-ENOENT, region_open(self->name, O_RDONLY));
	}
}

struct gate {
	unsigned int *word;
	bool stop;
	long slept, failed;
};

/* As in a lock: sleep while the word is 0, and look again. */
static void *pass_gate(void *arg)
{
	struct timespec timeout = { .tv_sec = 60 };
	struct gate *g = arg;
	long ret;

	while (!READ_ONCE(g->stop)) {
		ret = futex(g->word, FUTEX_WAIT_PRIVATE, 0, &timeout);
		if (ret == -ETIMEDOUT) {
			g->failed++;
			break;
		}
		g->slept += !ret;
	}
	return NULL;
}

/*
 * Threads go to sleep while their memory becomes a region, again and again. No
 * old key may be queued after the sleepers have been looked for.
 */
TEST_F(mshare, donated_while_falling_asleep)
{
	const int nr = 4, rounds = scaled(60, 15);
	struct gate gate[4];
	pthread_t thread[4];
	long slept = 0;
	int round, i;

	for (round = 0; round < rounds; round++) {
		ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
		ASSERT_EQ(0, probe_store(self->addr, 0));
		memset(gate, 0, sizeof(gate));
		for (i = 0; i < nr; i++) {
			gate[i].word = (unsigned int *)self->addr + i;
			ASSERT_EQ(0, pthread_create(&thread[i], NULL, pass_gate,
						    &gate[i]));
		}
		for (i = 0; i < round % 8; i++)
			futex(gate[i % nr].word, FUTEX_WAKE_PRIVATE, 1, NULL);
		MAKE_REGION();
		for (i = 0; i < nr; i++) {
			WRITE_ONCE(gate[i].stop, true);
			WRITE_ONCE(*gate[i].word, 1);
			futex(gate[i].word, FUTEX_WAKE_PRIVATE, 1, NULL);
		}
		for (i = 0; i < nr; i++) {
			ASSERT_EQ(0, pthread_join(thread[i], NULL));
			EXPECT_EQ(0, gate[i].failed)
				TH_LOG("round %d: never woken", round);
			slept += gate[i].slept;
		}
		ASSERT_EQ(0, sys_mshare_unlink(self->name));
		ASSERT_EQ(-ENOENT, region_open(self->name, O_RDONLY));
	}
	EXPECT_LT(0, slept);
}

struct waiter {
	struct futex_waitv wait[2];
	long ret;
};

static void *wait_for_two(void *arg)
{
	struct timespec end = { .tv_sec = now_ms() / 1000 + 30 };
	struct waiter *w = arg;

	w->ret = neg(syscall(__NR_futex_waitv, w->wait, 2, 0, &end,
			     CLOCK_MONOTONIC));
	return NULL;
}

/* A page whose first access waits for the test; -1 if that is impossible. */
static int slow_page(char **page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);

	*page = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	reg.range.start = (unsigned long)*page;
	reg.range.len = PAGE;
	if (fd < 0 || *page == MAP_FAILED || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &reg)) {
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * The key is looked up, the memory becomes a region and its sleepers are woken,
 * and only then is the sleeper queued. futex_waitv() looks up all keys first,
 * and the test decides how long the page of the second one takes.
 */
TEST_F(mshare, key_from_before_donation)
{
	struct uffdio_zeropage zero = {};
	struct waiter w = {};
	struct uffd_msg msg;
	pthread_t thread;
	char *page;
	int fd = slow_page(&page);

	if (fd < 0)
		SKIP(return, "no userfaultfd");
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, 0));
	w.wait[0].uaddr = (unsigned long)self->addr;
	w.wait[0].flags = FUTEX_32 | FUTEX_PRIVATE_FLAG;
	w.wait[1].uaddr = (unsigned long)page;
	w.wait[1].flags = FUTEX_32;
	ASSERT_EQ(0, pthread_create(&thread, NULL, wait_for_two, &w));
	ASSERT_EQ((long)sizeof(msg), read(fd, &msg, sizeof(msg)));
	ASSERT_EQ(UFFD_EVENT_PAGEFAULT, msg.event);
	MAKE_REGION();
	zero.range.start = (unsigned long)page;
	zero.range.len = PAGE;
	ASSERT_EQ(0, neg(ioctl(fd, UFFDIO_ZEROPAGE, &zero)));
	/* Wait until it sleeps: before that, it cannot be woken. */
	EXPECT_TRUE(WAIT_FOR(futex(self->addr, FUTEX_WAKE_PRIVATE, 1, NULL) ==
			     1, 10000))
		TH_LOG("sleeps on its old key");
	EXPECT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, w.ret);
	close(fd);
	munmap(page, PAGE);
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
