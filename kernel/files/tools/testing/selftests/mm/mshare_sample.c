// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: the two programs from the announcement of the feature. A donor shares
 * what it has mapped, and a consumer finds it by name.  The steps are in the
 * announced order. Where a step cannot work as announced, the correction is
 * marked and explained.
 */
#include "mshare_helpers.h"

#define GREETING "Some random text"
#define ANSWER "and an answer"
#define TEST_REGION MSHARE_PREFIX "testregion"

/* If a step of the consumer fails, it exits with the step's number. */
static int consumer(int go)
{
	struct region_info info;
	char *addr, byte;
	int fd;

	/* The donor says when to go on. */
	if (read(go, &byte, 1) != 1)
		return 10;

	/*
	 * Correction: the file is opened by its path under /sys/fs/mshare. The
	 * announced "testregion" is relative to the working directory, where
	 * there is no such file.
	 */
	fd = open(MSHARE_DIR "/" TEST_REGION, O_RDONLY);
	if (fd < 0)
		return 1;
	/* The content of the file says where the region lies. */
	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return 2;
	close(fd);
	addr = (char *)(unsigned long)info.start;
	if (sys_mshare(TEST_REGION, addr, info.size, O_RDWR, 0600))
		return 3;
	if (strcmp(addr, GREETING))
		return 4;
	/* Both directions: the donor reads this after the consumer has gone. */
	memcpy(addr + PAGE, ANSWER, sizeof(ANSWER));
	if (sys_mshare_unlink(TEST_REGION))
		return 5;
	/* The range may not be read any more. */
	return probe_byte(addr) == SIGSEGV ? 0 : 6;
}

TEST(donor_and_consumer)
{
	unsigned long granule = granule_size();
	char *addr = slot_addr(granule, 40);
	int status, go[2];
	pid_t pid;
	long ret;

	probe_init();
	sys_mshare_unlink(TEST_REGION);
	ASSERT_EQ(0, pipe(go));
	/*
	 * Correction: MAP_NORESERVE.  Without it, a shared mapping of 512 GiB
	 * is charged against memory and swap at once, and refused on any
	 * machine that has less.
	 * Correction: MAP_FIXED_NOREPLACE.  The announced call gives only a
	 * hint, and continues with whatever address it gets.
	 */
	ASSERT_EQ(addr, mmap(addr, granule, RW, MAP_SHARED | MAP_ANONYMOUS |
			     MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0));
	/* The consumer is another process and has no such mapping. */
	ASSERT_EQ(0, madvise(addr, granule, MADV_DONTFORK));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(consumer(go[0]));
	ASSERT_EQ(0, madvise(addr, granule, MADV_DOFORK));

	/* The text is there before the region: it moves with its page. */
	memcpy(addr, GREETING, sizeof(GREETING));
	/*
	 * Correction: 0600, octal.  The announced 600 is 01130, which allows
	 * the owner only to execute.
	 */
	ret = sys_mshare(TEST_REGION, addr, granule, O_CREAT | O_RDWR, 0600);
	if (ret == -EOPNOTSUPP) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		EXPECT_EQ(0, strcmp(addr, GREETING));
		SKIP(return, "donation is not supported by this kernel");
	}
	ASSERT_EQ(0, ret);
	EXPECT_EQ(0, strcmp(addr, GREETING));

	ASSERT_EQ(1, write(go[1], "x", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status)
		TH_LOG("the consumer stopped at step %d", WEXITSTATUS(status));
	EXPECT_EQ(0, strcmp(addr + PAGE, ANSWER));
	EXPECT_EQ(0, sys_mshare_unlink(TEST_REGION));
	EXPECT_EQ(SIGSEGV, probe_byte(addr));
	EXPECT_EQ(-ENOENT, region_open(TEST_REGION, O_RDONLY));
}

/*
 * The same without donation, for kernels that lack it and for programs that do
 * not need it: create the region first and fill it then.
 */
TEST(empty_donor_and_consumer)
{
	unsigned long granule = granule_size();
	char *addr = slot_addr(granule, 40);
	int status, go[2];
	pid_t pid;

	probe_init();
	sys_mshare_unlink(TEST_REGION);
	ASSERT_EQ(0, pipe(go));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(consumer(go[0]));
	ASSERT_EQ(0, sys_mshare(TEST_REGION, addr, granule, O_CREAT | O_RDWR,
				0600));
	ASSERT_EQ(0, map_shmem(addr, granule, RW));
	memcpy(addr, GREETING, sizeof(GREETING));
	ASSERT_EQ(1, write(go[1], "x", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status)
		TH_LOG("the consumer stopped at step %d", WEXITSTATUS(status));
	EXPECT_EQ(0, strcmp(addr + PAGE, ANSWER));
	EXPECT_EQ(0, sys_mshare_unlink(TEST_REGION));
	EXPECT_EQ(SIGSEGV, probe_byte(addr));
	EXPECT_EQ(-ENOENT, region_open(TEST_REGION, O_RDONLY));
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
