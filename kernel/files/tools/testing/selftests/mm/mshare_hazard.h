/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Changes of a region's entries by reverse mapping.  Reclaim, migration,
 * writeback and the collapse of a file's pages do not act for a sharer. They
 * find the entries by reverse mapping, which knows the host but no sharers.
 *
 * Each function runs rounds of one hazard against a spinning reader. It returns
 * the number of rounds in which the reader was right: it took a fault, or saw
 * what was stored.  Or a negative errno if the hazard could not be produced.
 *
 * A knob of the debug kernel may be on during the hazard.  Then a sharer may
 * have a stale entry to a free page. Only the reader touches the window until
 * the knob is off and the range is unmapped, and the reader stores only where
 * the page stays.
 */
#ifndef _MSHARE_HAZARD_H
#define _MSHARE_HAZARD_H

#include "mshare_gup.h"
#include "mshare_spin.h"

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif

#define UNPOISON "/sys/kernel/debug/hwpoison/unpoison-pfn"

struct hazard {
	struct spin *s;
	char *addr;		/* some MiB that are free, aligned to 2 MiB */
	int rounds;
	const char *knob;	/* or NULL */
};

/* The frame behind an address outside of windows; 0 if it is not known. */
static inline long frame_of(const void *addr)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entry = 0;

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry), (unsigned long)addr / PAGE * 8) !=
	    sizeof(entry) || !(entry >> 63))
		entry = 0;
	close(fd);
	return entry & ((1UL << 55) - 1);
}

/*
 * Make the page at an address outside of windows move to another frame, as if
 * its frame were about to fail.  The frame is freed.
 */
static inline long move_page_away(void *addr)
{
	long frame = frame_of(addr), end = now_ms() + 10000, ret;

	/*
	 * A page is busy while it is on its way to a list, or while another
	 * task is about to map it again.
	 */
	while ((ret = do_madvise(addr, PAGE, MADV_SOFT_OFFLINE)) == -EBUSY &&
	       now_ms() < end)
		nap_ms(5);
	if (!ret && frame && frame_of(addr) == frame)
		ret = -ESTALE;
	if (!ret && frame)
		spew_num(UNPOISON, frame);
	return ret;
}

static inline void hazard_begin(const struct hazard *h)
{
	if (h->knob)
		spew(h->knob, "1");
}

/* The reader ends its round; the knob is switched off in any case. */
static inline long hazard_end(const struct hazard *h)
{
	bool done;

	spin_publish(h->s);
	done = spin_end(h->s);
	if (h->knob)
		spew(h->knob, "0");
	return done ? 0 : -ETIME;
}

/*
 * Reclaim.  The reader must fault. Without a fault it uses a page that was
 * taken away, and which may still be unused.  It must see what was stored, and
 * never what the frame is used for next (s->bad).
 */
static inline long pageout_rounds(const struct hazard *h)
{
	const size_t poison_len = 64 * PAGE;
	long faults, seen = 0, ret;
	char *poison;
	int i, j;

	for (i = 1; i <= h->rounds; i++) {
		ret = map_anon(h->addr, PAGE, RW);
		if (ret || probe_store(h->addr, i))
			return ret ?: -EFAULT;
		faults = h->s->faults;
		if (!spin_begin(h->s, SPIN_LOAD_ALWAYS, h->addr, i))
			return -ETIME;
		hazard_begin(h);
		for (j = 0; j < 4 && !ret; j++) {
			ret = do_madvise(h->addr, PAGE, MADV_PAGEOUT);
			nap_ms(1);
			poison = mmap(NULL, poison_len, RW, MAP_PRIVATE |
				      MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
			if (poison == MAP_FAILED)
				ret = -ENOMEM;
			else
				memset(poison, 0xee, poison_len);
			munmap(poison, poison_len);
		}
		ret = hazard_end(h) ?: ret;
		if (ret)
			return ret;
		seen += h->s->faults > faults;
		ret = do_munmap(h->addr, PAGE);
		if (ret)
			return ret;
	}
	return seen;
}

/* A file of memory in the region and, for the changer, outside of it. */
struct two_views {
	int fd;
	char *own;		/* aligned to 2 MiB */
};

static inline long two_views(struct two_views *v, char *addr, size_t len)
{
	char *p;

	v->fd = memfd_create("mshare", MFD_CLOEXEC);
	if (v->fd < 0 || ftruncate(v->fd, len))
		return -errno;
	p = mmap(NULL, len + 2 * MEG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		 -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	p += -(unsigned long)p & (2 * MEG - 1);
	v->own = p;
	return map_fd(v->own, len, RW, MAP_SHARED, v->fd, 0) ?:
	       map_fd(addr, len, RW, MAP_SHARED, v->fd, 0);
}

/*
 * A page moves to another frame, and later stores go to the new one. The reader
 * does not read meanwhile, because its faults would keep the page in place.
 */
static inline long migration_rounds(const struct hazard *h)
{
	size_t len = h->rounds * PAGE;
	struct two_views v = { -1, NULL };
	long stale, seen = 0, ret;
	int i;

	ret = two_views(&v, h->addr, len);
	for (i = 0; i < h->rounds && !ret; i++) {
		long *own = (long *)(v.own + i * PAGE);

		WRITE_ONCE(*own, 1000 + i);
		stale = h->s->stale;
		if (!spin_begin(h->s, SPIN_LOAD_AFTER, h->addr + i * PAGE,
				2000 + i))
			return -ETIME;
		hazard_begin(h);
		ret = move_page_away(own);
		WRITE_ONCE(*own, 2000 + i);
		ret = hazard_end(h) ?: ret;
		seen += h->s->stale == stale;
	}
	munmap(v.own, len);
	close(v.fd);
	return ret ?: do_munmap(h->addr, len) ?: seen;
}

/*
 * A process that has the file mapped outside of the region makes a huge page of
 * its pages: the region's table over them is freed.
 */
static inline long file_collapse_rounds(const struct hazard *h,
					const char *name)
{
	const size_t len = 2 * MEG;
	long stale, seen = 0, ret, tables;
	struct two_views v = { -1, NULL };
	size_t off;
	int i, try;

	ret = two_views(&v, h->addr, len);
	for (i = 0; i < h->rounds && !ret; i++) {
		long *own = (long *)(v.own + (i * 37 + 1) % 512 * PAGE);

		/* Small pages once more. */
		if (ftruncate(v.fd, 0) || ftruncate(v.fd, len))
			return -errno;
		for (off = 0; off < len; off += PAGE)
			WRITE_ONCE(*(long *)(v.own + off), 1000 + i);
		stale = h->s->stale;
		/* A page that is accessed all the time cannot be collapsed. */
		if (!spin_begin(h->s, SPIN_LOAD_AFTER,
				h->addr + ((char *)own - v.own), 2000 + i))
			return -ETIME;
		tables = region_figure(name, "mshare-pgtables-kb");
		hazard_begin(h);
		for (try = 0, ret = -EAGAIN; try < 20 && ret == -EAGAIN; try++)
			ret = do_madvise(v.own, len, MADV_COLLAPSE);
		WRITE_ONCE(*own, 2000 + i);
		ret = hazard_end(h) ?: ret;
		if (!ret &&
		    region_figure(name, "mshare-pgtables-kb") != tables - 4)
			ret = -ESTALE;
		seen += h->s->stale == stale;
	}
	munmap(v.own, len);
	close(v.fd);
	return ret ?: do_munmap(h->addr, len) ?: seen;
}

#define HAZARD_DIR "/tmp/mshare-hazard"

/* A file on a disk, on a file system that writes back; or -errno. */
static inline int disk_file(struct loop_dev *dev, int pages)
{
	char cmd[128];
	int fd, err;

	err = loop_open(dev, 8 * MEG);
	if (err)
		return err;
	snprintf(cmd, sizeof(cmd), "mke2fs -F %s >/dev/null 2>&1", dev->path);
	/* Left over by a test that was interrupted. */
	umount2(HAZARD_DIR, MNT_DETACH);
	mkdir(HAZARD_DIR, 0700);
	/* The device must not be open for writing when it is mounted. */
	close(dev->fd);
	dev->fd = open(dev->path, O_RDONLY | O_CLOEXEC);
	if (system(cmd) || mount(dev->path, HAZARD_DIR, "ext2", 0, NULL)) {
		rmdir(HAZARD_DIR);
		loop_close(dev);
		return -ENODEV;
	}
	fd = open(HAZARD_DIR "/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, pages * PAGE))
		return -errno;
	return fd;
}

static inline long disk_file_end(struct loop_dev *dev)
{
	long ret = neg(umount(HAZARD_DIR));

	rmdir(HAZARD_DIR);
	loop_close(dev);
	return ret;
}

/*
 * Writeback: a page that has become clean is write-protected, so that the next
 * store is noticed.  The writer must fault, or its store stays in memory.
 */
static inline long writeback_rounds(const struct hazard *h, int fd)
{
	long faults, seen = 0, ret;
	int i;

	ret = map_fd(h->addr, PAGE, RW, MAP_SHARED, fd, 0);
	/*
	 * The first round does not count, because its first store always
	 * faults.
	 */
	for (i = 0; i <= h->rounds && !ret; i++) {
		faults = h->s->faults;
		if (!spin_begin(h->s, SPIN_STORE_ALWAYS, h->addr, i))
			return -ETIME;
		hazard_begin(h);
		ret = neg(fdatasync(fd));
		ret = hazard_end(h) ?: ret;
		seen += i && h->s->faults > faults;
	}
	return ret ?: do_munmap(h->addr, PAGE) ?: seen;
}

/*
 * Rights are taken away while a sharer sleeps on an idle CPU.  Such a CPU keeps
 * the sharer's tables loaded, in lazy TLB mode, until it runs again.  Return:
 * the number of rounds that the sharer noticed.
 */
static inline long idle_rounds(struct peer *p, char *addr, int rounds)
{
	long seen = 0, ret;
	int i;

	ret = map_anon(addr, 2 * PAGE, RW) ?: -probe_store(addr + PAGE, 1);
	for (i = 1; i <= rounds && !ret; i++) {
		/*
		 * Not unmapped, because an mm's own flush then spares idle
		 * CPUs.
		 */
		ret = do_mprotect(addr, PAGE, RW) ?: -probe_store(addr, i);
		if (ret || peer_see(p, addr) != i)
			return ret ?: -EIO;
		nap_ms(2);
		ret = do_mprotect(addr, PAGE, PROT_NONE);
		seen += peer_load(p, addr) == SIGSEGV;
	}
	return ret ?: do_munmap(addr, 2 * PAGE) ?: seen;
}

#endif /* _MSHARE_HAZARD_H */
