// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: the listing of a region's mappings, which an ioctl of its file opens.
 */
#include "mshare_helpers.h"
#include "mshare_failnth.h"
#include <sys/ioctl.h>

#ifndef MSHARE_IOC_MAPS
#define MSHARE_IOC_MAPS _IO(0xBA, 0x00)
#endif

static char text[1 << 20];

/*
 * Read everything, that many bytes at a time. Return: the length, or a negative
 * errno.
 */
static ssize_t read_all(int fd, size_t chunk)
{
	size_t n = 0;
	ssize_t r;

	while ((r = read(fd, text + n, chunk)) > 0) {
		n += r;
		if (n + chunk >= sizeof(text))
			return -E2BIG;
	}
	text[n] = 0;
	return r < 0 ? -errno : (ssize_t)n;
}

/* The listing of a region into text[]: its length, or a negative errno. */
static ssize_t list_region(const char *name, size_t chunk)
{
	int fd = region_open(name, O_RDONLY), maps;
	ssize_t r;

	if (fd < 0)
		return fd;
	maps = neg(ioctl(fd, MSHARE_IOC_MAPS));
	/* The listing does not need the file any more. */
	close(fd);
	if (maps < 0)
		return maps;
	r = read_all(maps, chunk);
	close(maps);
	return r;
}

static int lines(const char *p)
{
	int n = 0;

	for (; *p; p++)
		n += *p == '\n';
	return n;
}

/*
 * The lines of /proc/self/maps within a range. Return: their length, or a
 * negative errno if it is too long.
 */
static size_t own_lines(char *buf, size_t size, char *start, size_t len)
{
	static char all[1 << 18];
	unsigned long a, b;
	char *line, *next;
	size_t n = 0;

	if (slurp("/proc/self/maps", all, sizeof(all)) < 0)
		return 0;
	for (line = all; *line; line = next) {
		next = strchr(line, '\n') + 1;
		if (sscanf(line, "%lx-%lx", &a, &b) != 2 ||
		    a < (unsigned long)start || b > (unsigned long)start + len)
			continue;
		if (n + (next - line) < size)
			memcpy(buf + n, line, next - line);
		n += next - line;
	}
	buf[n < size ? n : 0] = 0;
	return n;
}

/* A donated mapping looks the same in the region's listing. */
TEST_F(mshare, same_as_in_proc)
{
	static char before[8192];
	char *at = self->addr + 3 * MEG;
	int fd = temp_file(16 * PAGE), mem;

	ASSERT_LE(0, fd);
	mem = memfd_create("listed", MFD_CLOEXEC);
	ASSERT_LE(0, mem);
	ASSERT_EQ(0, neg(ftruncate(mem, 4 * PAGE)));
	ASSERT_EQ(0, map_anon(at, 2 * PAGE, RW));
	ASSERT_EQ(0, map_anon(at + 2 * PAGE, PAGE, PROT_NONE));
	ASSERT_EQ(0, map_shmem(at + 4 * PAGE, PAGE, PROT_READ));
	ASSERT_EQ(0, map_fd(at + 8 * PAGE, 4 * PAGE, RW, MAP_PRIVATE, fd,
			    3 * PAGE));
	ASSERT_EQ(0, map_fd(at + 16 * PAGE, 4 * PAGE, RW, MAP_SHARED, mem, 0));
	ASSERT_EQ(0, map_fd(at + MEG, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE,
			    fd, 0));
	/* The configuration decides whether a name is kept. */
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, at, PAGE, "pool");
	ASSERT_LT(0UL, own_lines(before, sizeof(before), self->addr,
				 self->len));

	MAKE_REGION();
	ASSERT_LT(0, list_region(self->name, 4096));
	EXPECT_STREQ(before, text);
	/* In small reads, too: a line may come in parts. */
	ASSERT_LT(0, list_region(self->name, 7));
	EXPECT_STREQ(before, text);
	close(fd);
	close(mem);
}

/* A mapping of one sharer is in the listing of another at once. */
TEST_F(mshare, follows_the_region)
{
	unsigned long a, b;
	char perms[8];
	struct peer p;
	int n;

	MAKE_SHARED();
	ASSERT_EQ(0, list_region(self->name, 4096));
	ASSERT_EQ(0, peer_call(&p, pf_map_anon, (long)self->addr, 2 * MEG, RW));
	ASSERT_LT(0, list_region(self->name, 4096));
	EXPECT_EQ(1, lines(text));
	n = sscanf(text, "%lx-%lx %7s", &a, &b, perms);
	ASSERT_EQ(3, n);
	EXPECT_EQ((unsigned long)self->addr, a);
	EXPECT_EQ(2 * MEG, b - a);
	EXPECT_STREQ("rw-p", perms);
	ASSERT_EQ(0, peer_munmap(&p, self->addr, MEG));
	ASSERT_LT(0, list_region(self->name, 4096));
	n = sscanf(text, "%lx-%lx", &a, &b);
	ASSERT_EQ(2, n);
	EXPECT_EQ((unsigned long)self->addr + MEG, a);
	EXPECT_EQ(0, peer_stop(&p));
}

#define DIR_TO_UNMOUNT "/tmp/mshare-busy"

/* A file that keeps a file system busy can be found. */
TEST_F(mshare, tells_what_keeps_a_mount_busy)
{
	int fd;

	mkdir(DIR_TO_UNMOUNT, 0700);
	ASSERT_EQ(0, neg(mount("t", DIR_TO_UNMOUNT, "tmpfs", 0, NULL)));
	fd = open(DIR_TO_UNMOUNT "/culprit", O_RDWR | O_CREAT, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, neg(ftruncate(fd, PAGE)));
	MAKE_REGION();
	ASSERT_EQ(0, map_fd(self->addr, PAGE, RW, MAP_SHARED, fd, 0));
	close(fd);
	EXPECT_EQ(-EBUSY, neg(umount(DIR_TO_UNMOUNT)));
	ASSERT_LT(0, list_region(self->name, 4096));
	EXPECT_NE(NULL, strstr(text, DIR_TO_UNMOUNT "/culprit\n"));
	ASSERT_EQ(0, do_munmap(self->addr, PAGE));
	EXPECT_TRUE(WAIT_FOR(!umount(DIR_TO_UNMOUNT), 10000));
	rmdir(DIR_TO_UNMOUNT);
}

#define MANY 1000

/*
 * A listing of a thousand mappings, read while another sharer makes and removes
 * some.
 */
PEER_FN(pf_churn)
{
	long i;

	PEER_UNUSED();
	for (i = 0; i < c; i++) {
		if (map_anon((char *)a, b, i & 1 ? RW : PROT_READ))
			return -EFAULT;
		if (do_munmap((char *)a, b))
			return -EFAULT;
	}
	return 0;
}

TEST_F(mshare, many_mappings_in_pieces)
{
	char *last = self->addr + 2 * MANY * PAGE, *line, *next;
	unsigned long a, b, end;
	struct peer_req req = { .fn = pf_churn };
	int i, n, round;
	struct peer p;

	MAKE_SHARED();
	/* Only odd pages are writable, so that no two mappings merge. */
	ASSERT_EQ(0, map_anon(self->addr, MANY * PAGE, PROT_READ));
	for (i = 1; i < MANY; i += 2)
		ASSERT_EQ(0, do_mprotect(self->addr + i * PAGE, PAGE, RW));
	ASSERT_LT(0, list_region(self->name, 65536));
	EXPECT_EQ(MANY, lines(text));

	req.arg[0] = (long)last;
	req.arg[1] = PAGE;
	req.arg[2] = scaled(4000, 1000);
	ASSERT_EQ(0, peer_post(&p, &req));
	for (round = 0; round < 20; round++) {
		ASSERT_LT(0, list_region(self->name, round & 1 ? 65536 : 512));
		/*
		 * Each mapping that was there all the time appears once, in
		 * order.
		 */
		for (line = text, end = 0, n = 0; *line; line = next) {
			next = strchr(line, '\n') + 1;
			i = sscanf(line, "%lx-%lx", &a, &b);
			ASSERT_EQ(2, i);
			ASSERT_LE(end, a);
			ASSERT_LT(a, b);
			end = b;
			n += a < (unsigned long)last;
		}
		ASSERT_EQ(MANY, n);
	}
	EXPECT_EQ(0, peer_wait(&p));
	EXPECT_EQ(0, peer_stop(&p));
}

PEER_FN(pf_list)
{
	PEER_UNUSED();
	if (setresuid(b, b, b))
		return -errno;
	return list_region((char *)a, 4096);
}

/* A process that may attach may read the listing; other processes may not. */
TEST_F(mshare, who_may_attach_may_list)
{
	struct peer p, q;
	int fd, maps;

	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, peer_start(&q));
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_list, (long)self->name, 65534));
	ASSERT_EQ(0, neg(chmod(self->path, 0644)));
	EXPECT_LT(0, peer_call(&q, pf_list, (long)self->name, 65534));

	fd = region_open(self->name, O_WRONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EBADF, neg(ioctl(fd, MSHARE_IOC_MAPS)));
	close(fd);
	fd = region_open(self->name, O_PATH);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EBADF, neg(ioctl(fd, MSHARE_IOC_MAPS)));
	close(fd);
	fd = region_open(self->name, O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-ENOTTY, neg(ioctl(fd, MSHARE_IOC_MAPS + 1)));
	maps = neg(ioctl(fd, MSHARE_IOC_MAPS));
	ASSERT_LE(0, maps);
	EXPECT_EQ(FD_CLOEXEC, fcntl(maps, F_GETFD));
	EXPECT_EQ(O_RDONLY, fcntl(maps, F_GETFL) & O_ACCMODE);
	EXPECT_EQ(-EBADF, neg(write(maps, "x", 1)));
	/* It can be read again from its beginning. */
	EXPECT_LT(0, read_all(maps, 4096));
	EXPECT_EQ(0, read_all(maps, 4096));
	EXPECT_EQ(0, lseek(maps, 0, SEEK_SET));
	EXPECT_LT(0, read_all(maps, 4096));
	close(maps);
	close(fd);
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, peer_stop(&q));
}

/* Whatever allocation fails, no descriptor is left behind. */
TEST_F(mshare, open_fails_whole)
{
	int arm = failnth_open(), fd, maps, free, n;
	bool hit = true;

	if (arm < 0)
		SKIP(return, "the kernel cannot fail on purpose");
	MAKE_REGION();
	fd = region_open(self->name, O_RDONLY);
	ASSERT_LE(0, fd);
	free = dup(fd);
	ASSERT_EQ(0, close(free));
	for (n = 1; hit && n < FAILNTH_MAX; n++) {
		failnth_arm(arm, n);
		maps = neg(ioctl(fd, MSHARE_IOC_MAPS));
		hit = failnth_hit(arm);
		EXPECT_TRUE(maps == free || maps == -ENOMEM)
			TH_LOG("allocation %d: %d", n, maps);
		if (maps >= 0)
			close(maps);
	}
	/* Open the file, and allocate its state. */
	EXPECT_LE(3, n);
	EXPECT_FALSE(hit);
	close(fd);
	close(arm);
}

/*
 * The listing of a region that is gone is empty, whether or not it was begun
 * earlier. The region's file that it keeps open brings nothing back.
 */
TEST_F(mshare, gone_region_lists_nothing)
{
	int fd, begun, fresh, i;
	struct peer p;

	MAKE_SHARED();
	/* More than fits into one read, and more than one piece. */
	for (i = 0; i < 200; i++)
		ASSERT_EQ(0, map_anon(self->addr + 2 * i * PAGE, PAGE, RW));
	fd = region_open(self->name, O_RDONLY);
	ASSERT_LE(0, fd);
	begun = neg(ioctl(fd, MSHARE_IOC_MAPS));
	ASSERT_LE(0, begun);
	ASSERT_EQ(64, neg(read(begun, text, 64)));

	/* While a sharer is left, a new listing shows everything too. */
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	ASSERT_EQ(0, sys_mshare_unlink(self->name));
	fresh = neg(ioctl(fd, MSHARE_IOC_MAPS));
	ASSERT_LE(0, fresh);
	EXPECT_LT(0, read_all(fresh, 4096));
	EXPECT_EQ(200, lines(text));

	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_TRUE(WAIT_FOR(!lseek(fresh, 0, SEEK_SET) &&
			     !read_all(fresh, 4096), 10000));
	/* Only what had been prepared for reading may still come. */
	ASSERT_LE(0, read_all(begun, 4096));
	EXPECT_GT(200, lines(text));
	EXPECT_EQ(0, lseek(begun, 0, SEEK_SET));
	EXPECT_EQ(0, read_all(begun, 4096));
	close(fresh);
	close(begun);
	fresh = neg(ioctl(fd, MSHARE_IOC_MAPS));
	ASSERT_LE(0, fresh);
	EXPECT_EQ(0, read_all(fresh, 4096));
	close(fresh);
	close(fd);
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
