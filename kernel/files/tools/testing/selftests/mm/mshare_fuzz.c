// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: random operations, all of them checked against a model.
 *
 * The program first prints the seed, and an error together with its step. Then
 *
 * \tmshare_fuzz -m lockstep -s SEED -n STEP
 *
 * repeats the run.  Concurrent runs cannot be repeated exactly, but -m
 * concurrent -s SEED starts from the same seed.
 *
 * -n STEPS, or MSHARE_FUZZ_STEPS: number of steps of each mode; by default as
 * many as a few seconds allow. -s SEED, or MSHARE_SEED.
 */
#include "mshare_fuzz.h"

static struct {
	__u64 seed;
	long steps;		/* 0: as many as a few seconds allow */
	const char *mode;	/* NULL: both */
} opt;

static __u64 a_seed(void)
{
	struct timespec ts;

	if (opt.seed)
		return opt.seed;
	clock_gettime(CLOCK_REALTIME, &ts);
	return ((__u64)getpid() << 32 ^ ts.tv_nsec ^ ts.tv_sec << 20) &
	       0xffffffffffff;
}

#define SHMEM_THP "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

/* Huge pages of shared memory too, where advice requests them. */
static void thp_begin(char *before, size_t size)
{
	char buf[256], *p;

	before[0] = 0;
	if (slurp(SHMEM_THP, buf, sizeof(buf)) <= 0)
		return;
	p = strchr(buf, '[');
	if (p && sscanf(p + 1, "%[^]]", buf) == 1)
		snprintf(before, size, "%.24s", buf);
	spew(SHMEM_THP, "advise");
}

typedef int (*run_fn)(struct fuzz *f);

/* 0, or why it could not run. */
static int run(run_fn fn, struct fuzz *f)
{
	int swap = swap_begin(), ret;
	long since = now_ms();
	char thp[32];

	thp_begin(thp, sizeof(thp));
	check_fd = open(MSHARE_DEBUG "check", O_RDONLY | O_CLOEXEC);
	ksft_print_msg("seed %llu\n", (unsigned long long)f->seed);
	ret = fn(f);
	ksft_print_msg("%ld steps, %ld per second%s; %ld reads raced\n", f->done,
		       f->done * 1000 / (elapsed(since) ?: 1),
		       check_fd < 0 ? "" : ", tables checked", f->raced);
	if (!f->plant)
		tell_counts(f);
	if (check_fd >= 0)
		close(check_fd);
	spew(SHMEM_THP, thp);
	if (swap == 1 && !ret)
		ret = swap_end();
	return ret;
}

static struct fuzz fuzz_of(const char *name, char *region, size_t granule)
{
	return (struct fuzz) {
		.name = name, .region = region, .len = fuzz_len(granule),
		.seed = a_seed(), .steps = opt.steps ?: scaled(5000, 1000),
		.ms = opt.steps ? 0 : 8000,
	};
}

#define NEVER (24 * 3600)

TEST_F_TIMEOUT(mshare, lockstep, NEVER)
{
	struct fuzz f = fuzz_of(self->name, self->addr, self->granule);

	if (opt.mode && strcmp(opt.mode, "lockstep"))
		SKIP(return, "not asked for");
	ASSERT_EQ(0, run(run_lockstep, &f));
	EXPECT_EQ(0, f.wrong_at)
		TH_LOG("seed %llu, %s", (unsigned long long)f.seed, f.why);
	EXPECT_LE(opt.steps ?: FUZZ_AT_LEAST, f.done);
}

TEST_F_TIMEOUT(mshare, concurrent, NEVER)
{
	struct fuzz f = fuzz_of(self->name, self->addr, self->granule);

	if (opt.mode && strcmp(opt.mode, "concurrent"))
		SKIP(return, "not asked for");
	ASSERT_EQ(0, run(run_concurrent, &f));
	EXPECT_EQ(0, f.wrong_at)
		TH_LOG("seed %llu, %s", (unsigned long long)f.seed, f.why);
	EXPECT_LE(opt.steps ?: FUZZ_AT_LEAST, f.done);
}

/* If the model is once wrong in one page, that is reported at that step. */
TEST_F(mshare, planted_lie_is_found)
{
	struct fuzz f = fuzz_of(self->name, self->addr, self->granule);
	struct fuzz again;

	if (opt.mode || opt.steps)
		SKIP(return, "not asked for");
	f.plant = PLANT_LIE;
	f.ms = 0;
	f.steps = 1000;
	again = f;
	ASSERT_EQ(0, run(run_lockstep, &f));
	EXPECT_LE(500, f.wrong_at);
	TH_LOG("%s", f.why);
	/* The same seed, the same step. */
	ASSERT_EQ(0, run(run_lockstep, &again));
	EXPECT_EQ(f.wrong_at, again.wrong_at);
	EXPECT_STREQ(f.why, again.why);
}

/* Started by exec, because a window is not inherited. */
static int gone(const char *where)
{
	void *at = (void *)strtoul(where, NULL, 0);

	probe_init();
	return self_maps_line(at) || probe_byte(at) != SIGSEGV ||
	       last_fault.code != SEGV_MAPERR;
}

int main(int argc, char **argv)
{
	const char *steps = getenv("MSHARE_FUZZ_STEPS");
	const char *seed = getenv("MSHARE_SEED");
	int c;

	if (argc == 3 && !strcmp(argv[1], "--gone"))
		return gone(argv[2]);
	opt.steps = steps ? atol(steps) : 0;
	opt.seed = seed ? strtoull(seed, NULL, 0) : 0;
	while ((c = getopt(argc, argv, "s:n:m:")) != -1) {
		switch (c) {
		case 's':
			opt.seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			opt.steps = atol(optarg);
			break;
		case 'm':
			opt.mode = optarg;
			break;
		default:
			fprintf(stderr, "usage: %s [-s SEED] [-n STEPS] [-m lockstep|concurrent]\n",
				argv[0]);
			return KSFT_FAIL;
		}
	}
	/* The harness gets no arguments. */
	optind = 1;
	return mshare_main(1, argv);
}
