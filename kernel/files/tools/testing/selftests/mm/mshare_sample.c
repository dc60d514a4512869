// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: the two programs that the feature was announced with, a donor that
 * shares what it has mapped and a consumer that finds it by its name.  They
 * are kept in the announcement's order of steps; where a step cannot work as
 * it was announced, the correction is marked and says why.
 */
#include "mshare_helpers.h"

#define GREETING "Some random text"
#define ANSWER "and an answer"
#define TEST_REGION MSHARE_PREFIX "testregion"

/* What a step of the consumer ends with when it fails: the step's number. */
static int consumer(int go)
{
	struct region_info info;
	char *addr, byte;
	int fd;

	/* The donor says when it is time. */
	if (read(go, &byte, 1) != 1)
		return 10;

	/*
	 * Correction: the file is opened by its path under /sys/fs/mshare.
	 * The announced "testregion" is relative to the working directory,
	 * where there is no such file.
	 */
	fd = open(MSHARE_DIR "/" TEST_REGION, O_RDONLY);
	if (fd < 0)
		return 1;
	/* Where the region lives is the file's content. */
	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return 2;
	close(fd);
	addr = (char *)(unsigned long)info.start;
	if (sys_mshare(TEST_REGION, addr, info.size, O_RDWR, 0600))
		return 3;
	if (strcmp(addr, GREETING))
		return 4;
	/* Both ways: the donor reads this when we are gone. */
	memcpy(addr + PAGE, ANSWER, sizeof(ANSWER));
	if (sys_mshare_unlink(TEST_REGION))
		return 5;
	/* It is no longer ours to look at. */
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
	 * Correction: MAP_NORESERVE.  A shared mapping of 512 GiB is charged
	 * against memory and swap at once otherwise, and refused on any
	 * machine that has less.
	 * Correction: MAP_FIXED_NOREPLACE.  The announced call leaves the
	 * choice to a hint, and goes on with whatever address comes back.
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

	/* The text is there before the region is: it moves with its page. */
	memcpy(addr, GREETING, sizeof(GREETING));
	/*
	 * Correction: 0600, octal.  The announced 600 is 01130, of which the
	 * owner may only execute.
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
 * The same for a kernel without donation, and for whoever does not want one:
 * the region is made first and filled then.
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
