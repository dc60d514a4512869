// SPDX-License-Identifier: GPL-2.0-only
/* mshare: no stale TLB entry outlives the flush that must remove it. */
#include "mshare_helpers.h"

#include <linux/fs.h>
#include <pthread.h>

#include "mshare_hazard.h"

struct attach_arg {
	const char *name;
	void *addr;
	size_t len;
	int oflag;
};

/* The reader is forked first, so that it makes its own window. */
static long attach_when_there(void *arg)
{
	struct attach_arg *a = arg;
	long end = now_ms() + 10000, ret;

	do {
		ret = sys_mshare(a->name, a->addr, a->len, a->oflag, 0);
	} while (ret == -ENOENT && now_ms() < end);
	return ret;
}

struct spin_test {
	struct spin *s;
	pid_t reader;
};

/*
 * The test's region with the test on one CPU and a reader, attached with oflag,
 * on another. Return: 0, -ENODEV if there is no other CPU, or the error.
 */
static long spin_setup(struct spin_test *t, const char *name, char *addr,
		       size_t len, int oflag)
{
	struct attach_arg attach = { name, addr, len, oflag };
	int cpu[2];
	long ret;

	if (!two_cpus(cpu))
		return -ENODEV;
	t->s = spin_alloc();
	if (!t->s)
		return -ENOMEM;
	ret = pin_to(cpu[0]);
	if (ret)
		return ret;
	t->reader = spin_fork(t->s, cpu[1], attach_when_there, &attach);
	if (t->reader < 0)
		return -EAGAIN;
	ret = sys_mshare(name, addr, len, O_CREAT | O_EXCL | O_RDWR, 0600);
	if (ret)
		return ret;
	return WAIT_FOR(READ_ONCE(t->s->ready), 15000) ? 0 : -ETIME;
}

/* The reader's exit status: 0 if all went well. */
static int spin_done(struct spin_test *t)
{
	int status = -1;

	spin_stop(t->s);
	waitpid(t->reader, &status, 0);
	return status;
}

TEST_F(mshare, spin_reader_vs_munmap)
{
	struct spin_test t;
	struct spin *s;
	long ret;
	int i, rounds = scaled(40, 20);

	ret = spin_setup(&t, self->name, self->addr, self->len, O_RDWR);
	if (ret == -ENODEV)
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, ret);
	s = t.s;
	for (i = 1; i <= rounds; i++) {
		ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
		ASSERT_EQ(0, probe_store(self->addr, i));
		ASSERT_TRUE(spin_begin(s, SPIN_LOAD_FAULTS, self->addr, i));
		ASSERT_EQ(0, do_munmap(self->addr, PAGE));
		spin_publish(s);
		ASSERT_TRUE(spin_end(s));
		ASSERT_EQ(0, s->stale)
			TH_LOG("stale load in round %d", i);
		EXPECT_EQ(SIGBUS, s->sig);
		EXPECT_EQ(BUS_ADRERR, s->code);
	}
	EXPECT_EQ(0, spin_done(&t));
	EXPECT_EQ(0, debug_check());
}

/* The same when tables are freed, and for a read-only sharer. */
TEST_F(mshare, spin_ro_reader_vs_munmap_of_tables)
{
	struct spin_test t;
	struct spin *s;
	long ret;
	int i, rounds = scaled(40, 20);

	ret = spin_setup(&t, self->name, self->addr, self->len, O_RDONLY);
	if (ret == -ENODEV)
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, ret);
	s = t.s;
	for (i = 1; i <= rounds; i++) {
		ASSERT_EQ(0, map_anon(self->addr, 8 * MEG, RW));
		ASSERT_EQ(0, probe_store(self->addr + 4 * MEG, i));
		ASSERT_TRUE(spin_begin(s, SPIN_LOAD_FAULTS,
				       self->addr + 4 * MEG, i));
		ASSERT_EQ(0, do_munmap(self->addr, 8 * MEG));
		spin_publish(s);
		ASSERT_TRUE(spin_end(s));
		ASSERT_EQ(0, s->stale)
			TH_LOG("stale load in round %d", i);
		EXPECT_EQ(SIGBUS, s->sig);
	}
	EXPECT_EQ(0, spin_done(&t));
	EXPECT_EQ(0, debug_check());
}

TEST_F(mshare, spin_reader_vs_mprotect)
{
	struct spin_test t;
	struct spin *s;
	long ret;
	int i, rounds = scaled(40, 20);

	ret = spin_setup(&t, self->name, self->addr, self->len, O_RDWR);
	if (ret == -ENODEV)
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, ret);
	s = t.s;
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	for (i = 1; i <= rounds; i++) {
		ASSERT_EQ(0, do_mprotect(self->addr, PAGE, RW));
		ASSERT_EQ(0, probe_store(self->addr, i));
		/* No access at all, and no stores, in turn. */
		ASSERT_TRUE(spin_begin(s, i & 1 ? SPIN_LOAD_FAULTS :
				       SPIN_STORE_FAULTS, self->addr, i));
		ASSERT_EQ(0, do_mprotect(self->addr, PAGE,
					 i & 1 ? PROT_NONE : PROT_READ));
		spin_publish(s);
		ASSERT_TRUE(spin_end(s));
		ASSERT_EQ(0, s->stale)
			TH_LOG("stale access in round %d", i);
		EXPECT_EQ(SIGSEGV, s->sig);
		EXPECT_EQ(SEGV_ACCERR, s->code);
	}
	EXPECT_EQ(0, spin_done(&t));
	EXPECT_EQ(0, debug_check());
}

/* The first write to a private page of a file replaces it by a copy. */
TEST_F(mshare, spin_writer_vs_cow)
{
	struct spin_test t;
	struct spin *s;
	long ret;
	int i, rounds = scaled(40, 20), fd = temp_file(256 * PAGE);

	ret = spin_setup(&t, self->name, self->addr, self->len, O_RDONLY);
	if (ret == -ENODEV)
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, ret);
	s = t.s;
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_fd(self->addr, 256 * PAGE, RW, MAP_PRIVATE, fd, 0));
	for (i = 1; i <= rounds; i++) {
		char *at = self->addr + i * PAGE;

		ASSERT_TRUE(spin_begin(s, SPIN_LOAD_NEW, at, 1000 + i));
		ASSERT_EQ(0, probe_store(at, 1000 + i));
		spin_publish(s);
		ASSERT_TRUE(spin_end(s));
		ASSERT_EQ(0, s->stale)
			TH_LOG("round %d: saw %ld", i, s->last_bad);
		EXPECT_EQ(0, s->sig);
	}
	close(fd);
	EXPECT_EQ(0, spin_done(&t));
	EXPECT_EQ(0, debug_check());
}

TEST_F(mshare, spin_reader_vs_dontneed)
{
	struct spin_test t;
	struct spin *s;
	long ret;
	int i, rounds = scaled(40, 20);

	ret = spin_setup(&t, self->name, self->addr, self->len, O_RDWR);
	if (ret == -ENODEV)
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, ret);
	s = t.s;
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	for (i = 1; i <= rounds; i++) {
		ASSERT_EQ(0, probe_store(self->addr, i));
		ASSERT_TRUE(spin_begin(s, SPIN_LOAD_NEW, self->addr, 0));
		ASSERT_EQ(0, do_madvise(self->addr, PAGE, MADV_DONTNEED));
		spin_publish(s);
		ASSERT_TRUE(spin_end(s));
		ASSERT_EQ(0, s->stale)
			TH_LOG("round %d: saw %ld", i, s->last_bad);
	}
	EXPECT_EQ(0, spin_done(&t));
	EXPECT_EQ(0, debug_check());
}

TEST_F(mshare, spin_reader_vs_mremap)
{
	struct spin_test t;
	struct spin *s;
	long ret;
	int i, rounds = scaled(40, 20);
	char *there = self->addr + 32 * MEG;

	ret = spin_setup(&t, self->name, self->addr, self->len, O_RDWR);
	if (ret == -ENODEV)
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, ret);
	s = t.s;
	for (i = 1; i <= rounds; i++) {
		/* One page, or a whole table at once. */
		size_t len = i & 1 ? PAGE : 4 * MEG;

		ASSERT_EQ(0, map_anon(self->addr, len, RW));
		ASSERT_EQ(0, probe_store(self->addr, i));
		ASSERT_TRUE(spin_begin(s, SPIN_LOAD_FAULTS, self->addr, i));
		ASSERT_EQ((long)there, do_mremap(self->addr, len, len,
						 MREMAP_MAYMOVE | MREMAP_FIXED,
						 there));
		spin_publish(s);
		ASSERT_TRUE(spin_end(s));
		ASSERT_EQ(0, s->stale)
			TH_LOG("stale load in round %d", i);
		EXPECT_EQ(SIGBUS, s->sig);
		EXPECT_EQ(i, load(there));
		ASSERT_EQ(0, do_munmap(there, len));
	}
	EXPECT_EQ(0, spin_done(&t));
	EXPECT_EQ(0, debug_check());
}

/*
 * Reclaim without a call of the reader.  It must fault in almost every round;
 * now and then a page is on its way to a list and cannot be reclaimed.
 */
TEST_F(mshare, spin_reader_vs_pageout)
{
	struct hazard h = { .addr = self->addr, .rounds = scaled(30, 15) };
	long ret, seen, out = vmstat_count("pswpout");
	struct spin_test t;
	int swap;

	swap = swap_begin();
	if (swap < 0)
		SKIP(return, "no swap: %s", strerror(-swap));
	ret = spin_setup(&t, self->name, self->addr, self->len, O_RDWR);
	if (ret == -ENODEV)
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, ret);
	h.s = t.s;
	seen = pageout_rounds(&h);
	TH_LOG("%ld pages to swap, the reader faulted in %ld of %d rounds",
	       vmstat_count("pswpout") - out, seen, h.rounds);
	EXPECT_LE(h.rounds / 2, seen);
	EXPECT_EQ(0, t.s->bad)
		TH_LOG("saw %lx", t.s->last_bad);
	/* Otherwise nothing was tested. */
	EXPECT_LE(h.rounds / 2, vmstat_count("pswpout") - out);
	EXPECT_EQ(0, spin_done(&t));
	EXPECT_EQ(0, debug_check());
	if (swap)
		EXPECT_EQ(0, swap_end());
}

/* A page moves to another frame: the reader sees what is stored there. */
TEST_F(mshare, spin_reader_vs_migration)
{
	struct hazard h = { .addr = self->addr, .rounds = scaled(30, 15) };
	struct spin_test t;
	long ret;

	if (access(UNPOISON, W_OK))
		SKIP(return, "no " UNPOISON);
	ret = spin_setup(&t, self->name, self->addr, self->len, O_RDONLY);
	if (ret == -ENODEV)
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, ret);
	h.s = t.s;
	EXPECT_EQ(h.rounds, migration_rounds(&h))
		TH_LOG("saw %ld", t.s->last_bad);
	EXPECT_EQ(0, spin_done(&t));
	EXPECT_EQ(0, debug_check());
}

/* A table of the region is freed because another process changes the file. */
TEST_F(mshare, spin_reader_vs_file_collapse)
{
	struct hazard h = { .addr = self->addr, .rounds = scaled(20, 10) };
	struct spin_test t;
	long ret;

	if (!have_thp())
		SKIP(return, "no transparent huge pages");
	ret = spin_setup(&t, self->name, self->addr, self->len, O_RDONLY);
	if (ret == -ENODEV)
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, ret);
	h.s = t.s;
	EXPECT_EQ(h.rounds, file_collapse_rounds(&h, self->name))
		TH_LOG("saw %ld", t.s->last_bad);
	EXPECT_EQ(0, spin_done(&t));
	EXPECT_EQ(0, debug_check());
}

/* The region's own small pages become a huge page. */
TEST_F(mshare, spin_reader_vs_collapse)
{
	int i, rounds = scaled(20, 10);
	struct spin_test t;
	struct spin *s;
	size_t off;
	long ret;

	if (!have_thp())
		SKIP(return, "no transparent huge pages");
	ret = spin_setup(&t, self->name, self->addr, self->len, O_RDONLY);
	if (ret == -ENODEV)
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, ret);
	s = t.s;
	for (i = 1; i <= rounds; i++) {
		char *at = self->addr + i % 512 * PAGE;

		ASSERT_EQ(0, map_anon(self->addr, 2 * MEG, RW));
		ASSERT_EQ(0, do_madvise(self->addr, 2 * MEG,
					MADV_NOHUGEPAGE));
		for (off = 0; off < 2 * MEG; off += PAGE)
			ASSERT_EQ(0, probe_store(self->addr + off, i));
		ASSERT_EQ(0, do_madvise(self->addr, 2 * MEG, MADV_HUGEPAGE));
		ASSERT_TRUE(spin_begin(s, SPIN_LOAD_NEW, at, 1000 + i));
		ASSERT_EQ(0, do_madvise(self->addr, 2 * MEG, MADV_COLLAPSE));
		ASSERT_EQ(0, probe_store(at, 1000 + i));
		spin_publish(s);
		ASSERT_TRUE(spin_end(s));
		ASSERT_EQ(0, s->stale)
			TH_LOG("round %d: saw %ld", i, s->last_bad);
		EXPECT_EQ(0, s->sig);
	}
	EXPECT_EQ(0, spin_done(&t));
	EXPECT_EQ(0, debug_check());
}

/* A store after the writeback of the file is not lost. */
TEST_F(mshare, spin_writer_vs_writeback)
{
	struct hazard h = { .addr = self->addr, .rounds = scaled(30, 15) };
	struct loop_dev dev;
	struct spin_test t;
	int fd = disk_file(&dev, 1), block = 0, size = 0;
	long ret;

	if (fd < 0)
		SKIP(return, "no disk to write to: %s", strerror(-fd));
	ret = spin_setup(&t, self->name, self->addr, self->len, O_RDWR);
	if (ret == -ENODEV) {
		close(fd);
		disk_file_end(&dev);
		SKIP(return, "needs two CPUs");
	}
	ASSERT_EQ(0, ret);
	h.s = t.s;
	EXPECT_EQ(h.rounds, writeback_rounds(&h, fd));
	EXPECT_EQ(0, spin_done(&t));

	/* And msync() in the window brings it to the disk. */
	ASSERT_EQ(0, map_fd(self->addr, PAGE, RW, MAP_SHARED, fd, 0));
	ASSERT_EQ(0, map_anon(self->addr + MEG, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, 0x600d));
	EXPECT_EQ(0, neg(msync(self->addr, PAGE, MS_SYNC)));
	ASSERT_EQ(0, neg(ioctl(fd, FIBMAP, &block)));
	ASSERT_EQ(0, neg(ioctl(fd, FIGETBSZ, &size)));
	EXPECT_EQ((long)size, pf_pread_direct((long)dev.path,
					      (long)self->addr + MEG, size,
					      (long)block * size, 0, 0));
	EXPECT_EQ(0x600d, load(self->addr + MEG));
	ASSERT_EQ(0, do_munmap(self->addr, 2 * MEG));
	close(fd);
	EXPECT_EQ(0, disk_file_end(&dev));
	EXPECT_EQ(0, debug_check());
}

/* Tables are freed and reused while GUP walks them without a lock. */
TEST_F(mshare, table_free_vs_gup_fast)
{
	long end, late, got, calls = 0, hits = 0, a = (long)self->addr;
	bool dev = !access(GUP_TEST_FILE, R_OK | W_OK);
	struct iovec iov = { self->addr + 4 * MEG, PAGE };
	unsigned int spins, round = 0;
	int cpu[2], status, pfd[2];
	long *page;
	pid_t mapper;

	if (!two_cpus(cpu))
		SKIP(return, "needs two CPUs");
	page = malloc(PAGE);
	ASSERT_NE(NULL, page);
	ASSERT_EQ(0, pipe(pfd));
	MAKE_REGION();
	mapper = fork();
	ASSERT_LE(0, mapper);
	if (!mapper) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pin_to(cpu[0]);
		for (;;) {
			map_anon(self->addr, 16 * MEG, RW);
			probe_store(self->addr + 4 * MEG, 0x600d);
			probe_store(self->addr + 10 * MEG, 0x600d);
			/* Wait, for another time in each round. */
			for (spins = round++ % 64 * 100; spins; spins--)
				asm volatile("");
			do_munmap(self->addr, 16 * MEG);
		}
	}
	pin_to(cpu[1]);
	/* On a busy machine it may take a while until both run. */
	end = now_ms() + scaled(2000, 4000);
	late = now_ms() + 60000;
	while (now_ms() < end || (hits < 100 && now_ms() < late)) {
		calls++;
		/*
		 * vmsplice() pins pages with GUP-fast and lets the test read
		 * them.
		 */
		got = neg(vmsplice(pfd[1], &iov, 1, 0));
		if (got > 0) {
			hits++;
			ASSERT_EQ(got, read(pfd[0], page, PAGE));
			/*
			 * Either the value, or the page before the store, or
			 * some of the value's bytes: read() copies byte by byte
			 * while the mapper stores. The content of another page
			 * has other bytes.
			 */
			ASSERT_TRUE((*page & ~0xff) == 0x6000 ||
				    (*page & ~0xff) == 0)
				TH_LOG("saw %lx", *page);
			ASSERT_TRUE((*page & 0xff) == 0x0d ||
				    (*page & 0xff) == 0)
				TH_LOG("saw %lx", *page);
		} else {
			ASSERT_EQ(-EFAULT, got);
		}
		if (!dev)
			continue;
		got = gup_test(PIN_FAST_BENCHMARK, a + 10 * MEG, 1,
			       FOLL_WRITE);
		ASSERT_TRUE(got == 0 || got == 1);
	}
	kill(mapper, SIGKILL);
	waitpid(mapper, &status, 0);
	EXPECT_LE(100, hits);
	TH_LOG("%ld of %ld calls found the page", hits, calls);
	EXPECT_EQ(0, debug_check());
	free(page);
}

/* With few sharers and with many, most of which sleep. */
TEST_F(mshare, many_sharers_threshold)
{
	const int counts[] = { 5, scaled(300, 60) };
	struct spin_test t;
	struct spin *s;
	long ret;
	int i, k, n = 0, rounds = scaled(20, 10), pfd[2], status;
	char byte;

	ret = spin_setup(&t, self->name, self->addr, self->len, O_RDWR);
	if (ret == -ENODEV)
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, ret);
	s = t.s;
	ASSERT_EQ(0, pipe(pfd));
	for (k = 0; k < (int)ARRAY_SIZE(counts); k++) {
		for (; n < counts[k]; n++) {
			pid_t pid = fork();

			ASSERT_LE(0, pid);
			if (!pid) {
				close(pfd[1]);
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				_exit(read(pfd[0], &byte, 1) != 0);
			}
		}
		EXPECT_EQ(n + 2, region_figure(self->name, "mshare-sharers"));
		for (i = 1; i <= rounds; i++) {
			ASSERT_EQ(0, map_anon(self->addr, 4 * MEG, RW));
			ASSERT_EQ(0, probe_store(self->addr, i));
			ASSERT_TRUE(spin_begin(s, SPIN_LOAD_FAULTS, self->addr,
					       i));
			ASSERT_EQ(0, i & 1 ? do_munmap(self->addr, 4 * MEG) :
				     do_mprotect(self->addr, PAGE, PROT_NONE));
			spin_publish(s);
			ASSERT_TRUE(spin_end(s));
			ASSERT_EQ(0, s->stale)
				TH_LOG("%d sharers: stale load in round %d", n,
				       i);
			EXPECT_EQ(i & 1 ? SIGBUS : SIGSEGV, s->sig);
		}
	}
	close(pfd[0]);
	close(pfd[1]);
	EXPECT_EQ(0, spin_done(&t));
	EXPECT_EQ(0, debug_check());
	for (i = 0; i < n; i++) {
		EXPECT_LT(0, wait(&status));
		EXPECT_EQ(0, status);
	}
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
}

struct thread_arg {
	struct spin *s;
	int cpu;
};

static void *reader_thread(void *arg)
{
	struct thread_arg *t = arg;

	probe_init();
	return (void *)(long)spin_reader(t->s, t->cpu);
}

/* A window goes while another thread of the same process reads from it. */
TEST_F(mshare, detach_vs_access)
{
	int i, rounds = scaled(40, 20), cpu[2];
	struct spin *s = spin_alloc();
	struct thread_arg arg;
	pthread_t thread;
	struct peer p;
	void *ret;

	if (!two_cpus(cpu))
		SKIP(return, "needs two CPUs");
	ASSERT_NE(NULL, s);
	ASSERT_EQ(0, pin_to(cpu[0]));
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, 7));
	arg.s = s;
	arg.cpu = cpu[1];
	ASSERT_EQ(0, pthread_create(&thread, NULL, reader_thread, &arg));
	ASSERT_TRUE(WAIT_FOR(READ_ONCE(s->ready), 10000));
	for (i = 1; i <= rounds; i++) {
		ASSERT_TRUE(spin_begin(s, SPIN_LOAD_FAULTS, self->addr, 7));
		ASSERT_EQ(0, i & 1 ? do_munmap(self->addr, self->len) :
			     sys_mshare_unlink(self->name));
		spin_publish(s);
		ASSERT_TRUE(spin_end(s));
		ASSERT_EQ(0, s->stale)
			TH_LOG("stale load in round %d", i);
		EXPECT_EQ(SIGSEGV, s->sig);
		EXPECT_EQ(SEGV_MAPERR, s->code);
		ASSERT_EQ(7, peer_see(&p, self->addr));
		ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,
					O_RDWR, 0));
	}
	spin_stop(s);
	EXPECT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(NULL, ret);
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/*
 * A window comes while another thread of the process runs. This thread then
 * reads from it and never enters the kernel, so its CPU must be interrupted.
 * Two other sharers stay attached, so that a flush uses the region's CPUs. One
 * of them changes something before each round, and after that the CPU is no
 * longer interrupted.
 */
TEST_F(mshare, attach_beside_running_thread)
{
	int i, rounds = scaled(30, 15), cpu[2];
	struct spin *s = spin_alloc();
	struct peer p, second;
	struct thread_arg arg;
	pthread_t thread;
	void *ret;

	if (!two_cpus(cpu))
		SKIP(return, "needs two CPUs");
	ASSERT_NE(NULL, s);
	ASSERT_EQ(0, pin_to(cpu[0]));
	ASSERT_EQ(0, peer_start(&second));
	MAKE_SHARED();
	ATTACH_PEER(&second, O_RDWR);
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	arg.s = s;
	arg.cpu = cpu[1];
	ASSERT_EQ(0, pthread_create(&thread, NULL, reader_thread, &arg));
	ASSERT_TRUE(WAIT_FOR(READ_ONCE(s->ready), 10000));
	for (i = 1; i <= rounds; i++) {
		ASSERT_EQ(0, peer_call(&p, pf_map_anon, (long)self->addr, PAGE,
				       RW));
		ASSERT_EQ(0, peer_store(&p, self->addr, i));
		ASSERT_EQ(0, peer_call(&p, pf_mprotect, (long)self->addr, PAGE,
				       PROT_READ));
		ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,
					O_RDWR, 0));
		ASSERT_TRUE(spin_begin(s, SPIN_LOAD_FAULTS, self->addr, i));
		ASSERT_EQ(0, peer_call(&p, pf_munmap, (long)self->addr, PAGE));
		spin_publish(s);
		ASSERT_TRUE(spin_end(s));
		ASSERT_EQ(0, s->stale)
			TH_LOG("stale load in round %d", i);
		EXPECT_EQ(SIGBUS, s->sig);
		ASSERT_EQ(0, do_munmap(self->addr, self->len));
	}
	spin_stop(s);
	EXPECT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(NULL, ret);
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&second));
	EXPECT_EQ(0, peer_stop(&p));
}

/* One sharer with two threads: its own flush is used, which takes ranges. */
TEST_F(mshare, spin_thread_vs_munmap)
{
	int i, rounds = scaled(40, 20), cpu[2];
	struct spin *s = spin_alloc();
	struct thread_arg arg;
	pthread_t thread;
	void *ret;

	if (!two_cpus(cpu))
		SKIP(return, "needs two CPUs");
	ASSERT_NE(NULL, s);
	ASSERT_EQ(0, pin_to(cpu[0]));
	MAKE_REGION();
	arg.s = s;
	arg.cpu = cpu[1];
	ASSERT_EQ(0, pthread_create(&thread, NULL, reader_thread, &arg));
	ASSERT_TRUE(WAIT_FOR(READ_ONCE(s->ready), 10000));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
	for (i = 1; i <= rounds; i++) {
		/* One page, and so many that everything is flushed. */
		size_t len = i & 1 ? PAGE : 8 * MEG;
		char *at = self->addr + len - PAGE;

		ASSERT_EQ(0, map_anon(self->addr, len, RW));
		ASSERT_EQ(0, probe_store(at, i));
		ASSERT_TRUE(spin_begin(s, SPIN_LOAD_FAULTS, at, i));
		ASSERT_EQ(0, do_munmap(self->addr, len));
		spin_publish(s);
		ASSERT_TRUE(spin_end(s));
		ASSERT_EQ(0, s->stale)
			TH_LOG("stale load in round %d", i);
		EXPECT_EQ(SIGBUS, s->sig);
	}
	spin_stop(s);
	EXPECT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(NULL, ret);
	EXPECT_EQ(0, debug_check());
}

/*
 * The creator of a region that is read-only for all has another thread, which
 * works on another page in each round, because freeing a table flushes the
 * first page.
 */
TEST_F(mshare, spin_writer_vs_ro_donation)
{
	int i, rounds = scaled(30, 15), cpu[2];
	struct spin *s = spin_alloc();
	struct thread_arg arg;
	pthread_t thread;
	void *ret;

	if (!two_cpus(cpu))
		SKIP(return, "needs two CPUs");
	ASSERT_NE(NULL, s);
	ASSERT_EQ(0, pin_to(cpu[0]));
	arg.s = s;
	arg.cpu = cpu[1];
	ASSERT_EQ(0, pthread_create(&thread, NULL, reader_thread, &arg));
	ASSERT_TRUE(WAIT_FOR(READ_ONCE(s->ready), 10000));
	for (i = 1; i <= rounds; i++) {
		char *at = self->addr + i % 4 * PAGE;

		ASSERT_EQ(0, map_anon(self->addr, 4 * PAGE, RW));
		ASSERT_EQ(0, probe_store(at, i));
		ASSERT_TRUE(spin_begin(s, SPIN_STORE_FAULTS, at, i));
		ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,
					O_CREAT | O_EXCL | O_RDONLY, 0600));
		spin_publish(s);
		ASSERT_TRUE(spin_end(s));
		ASSERT_EQ(0, s->stale)
			TH_LOG("stale store in round %d", i);
		EXPECT_EQ(SIGSEGV, s->sig);
		EXPECT_EQ(SEGV_ACCERR, s->code);
		ASSERT_EQ(0, sys_mshare_unlink(self->name));
	}
	spin_stop(s);
	EXPECT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(NULL, ret);
	EXPECT_EQ(0, debug_check());
}

TEST_F(mshare, idle_reader_vs_mprotect)
{
	int cpu[2], rounds = scaled(100, 40);
	struct peer p;

	if (!two_cpus(cpu))
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, pin_to(cpu[0]));
	MAKE_SHARED();
	ASSERT_EQ(0, peer_call(&p, pf_pin_to, cpu[1]));
	EXPECT_EQ(rounds, idle_rounds(&p, self->addr, rounds));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/*
 * All sharers are on one CPU, so nothing is sent to another: the caller's own
 * entries must go all the same. It uses them right before each call, because
 * a switch to the other sharer flushes all that have no PCID.
 */
TEST_F(mshare, flush_for_one_cpu)
{
	int cpu[2], i, rounds = scaled(100, 40);
	struct peer p;

	if (!two_cpus(cpu))
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, pin_to(cpu[0]));
	MAKE_SHARED();
	ASSERT_EQ(0, peer_call(&p, pf_pin_to, cpu[0]));
	for (i = 1; i <= rounds; i++) {
		ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
		ASSERT_EQ(0, probe_store(self->addr, i));
		ASSERT_EQ(i, peer_see(&p, self->addr));

		ASSERT_EQ(0, probe_store(self->addr, i));
		ASSERT_EQ(0, do_mprotect(self->addr, PAGE, PROT_READ));
		ASSERT_EQ(SIGSEGV, probe_store(self->addr, 0))
			TH_LOG("stale entry in round %d", i);
		ASSERT_EQ(SIGSEGV, peer_store(&p, self->addr, 0));

		ASSERT_EQ(i, load(self->addr));
		ASSERT_EQ(0, do_munmap(self->addr, PAGE));
		ASSERT_EQ(SIGBUS, probe_byte(self->addr))
			TH_LOG("stale entry in round %d", i);
		ASSERT_EQ(SIGBUS, peer_load(&p, self->addr));
	}
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/*
 * A process that has run on a CPU misses flushes there, and then becomes a
 * sharer. The CPU's entries of it are older than the flushes. A kernel that
 * checks itself reports if they are used.
 */
TEST_F(mshare, attach_after_flushes)
{
	struct peer p;
	int cpu[2], i;

	if (!two_cpus(cpu))
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, pin_to(cpu[0]));
	ASSERT_EQ(0, peer_start(&p));
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, 7));
	EXPECT_EQ(SIGSEGV, peer_load(&p, self->addr));
	for (i = 0; i < 8; i++)
		ASSERT_EQ(0, do_mprotect(self->addr, PAGE,
					 i & 1 ? RW : PROT_READ));
	ATTACH_PEER(&p, O_RDWR);
	for (i = 0; i < 8; i++)
		ASSERT_EQ(7, peer_see(&p, self->addr));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

struct prober {
	char *at;
	long stop;
	long found;		/* loads that gave the right value */
	long missed;		/* loads that found no window */
	long wrong;		/* wrong values */
	int sig;		/* the last of these */
};

/* Separate loads: a fault's search for a window may be one of them. */
static void *probe_thread(void *arg)
{
	struct prober *p = arg;
	long val = 0;
	int sig;

	probe_init();
	while (!READ_ONCE(p->stop)) {
		sig = probe_load(p->at, &val);
		if (!sig && val == 7) {
			WRITE_ONCE(p->found, p->found + 1);
		} else if (sig == SIGSEGV) {
			WRITE_ONCE(p->missed, p->missed + 1);
		} else {
			p->sig = sig;
			p->wrong++;
		}
	}
	return NULL;
}

/*
 * A window comes while the fault of another thread at the same address waits
 * for the process's lock. The fault has found no window, and then finds the
 * window's placeholder.
 */
TEST_F(mshare, attach_vs_fault)
{
	struct prober probe = { .at = self->addr };
	int i, rounds = scaled(200, 50);
	long found, missed;
	pthread_t thread;
	struct peer p;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, 7));
	ASSERT_EQ(0, pthread_create(&thread, NULL, probe_thread, &probe));
	for (i = 0; i < rounds; i++) {
		missed = READ_ONCE(probe.missed);
		ASSERT_EQ(0, do_munmap(self->addr, self->len));
		ASSERT_TRUE(WAIT_FOR(READ_ONCE(probe.missed) > missed, 20000));
		found = READ_ONCE(probe.found);
		ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,
					O_RDWR, 0));
		ASSERT_TRUE(WAIT_FOR(READ_ONCE(probe.found) > found, 20000));
	}
	WRITE_ONCE(probe.stop, 1);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, probe.wrong)
		TH_LOG("signal %d or a wrong value", probe.sig);
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* Readers on both CPUs while sharers attach and detach: never a false fault. */
TEST_F(mshare, attach_detach_vs_access)
{
	long end = now_ms() + scaled(2000, 3000);
	pid_t churn[2];
	int i, status;
	long n = 0;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, 7));
	for (i = 0; i < 2; i++) {
		churn[i] = fork();
		ASSERT_LE(0, churn[i]);
		if (churn[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (now_ms() < end) {
			if (load(self->addr) != 7)
				_exit(1);
			if (do_munmap(self->addr, self->len))
				_exit(2);
			if (probe_byte(self->addr) != SIGSEGV)
				_exit(3);
			if (sys_mshare(self->name, self->addr, self->len,
				       n++ & 1 ? O_RDWR : O_RDONLY, 0))
				_exit(4);
		}
		_exit(0);
	}
	while (now_ms() < end) {
		ASSERT_EQ(7, load(self->addr));
		n++;
	}
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(churn[i], waitpid(churn[i], &status, 0));
		EXPECT_EQ(0, status);
	}
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
	EXPECT_EQ(0, debug_check());
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
