// SPDX-License-Identifier: GPL-2.0-only
/*
 * List what a region maps, in the format of /proc/PID/maps.
 *
 * A process's own maps file shows a window as one line. The listing is a file
 * of its own, which an ioctl of the region's file opens. The region's file has
 * other contents already, and a second file in msharefs would take a name away
 * from regions. A process that can read the region's file may attach the
 * region, and then sees what is listed here. So no other permission is needed.
 *
 * The listing keeps the region's file open, which does not keep the contents of
 * the region. The host's lock is held for at most MSHARE_MAPS_PIECE mappings.
 * The listing then continues by address. Changes made meanwhile may be missed,
 * but all other mappings are listed correctly.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mshare.h>
#include <linux/seq_file.h>

#include "mshare.h"

/* Mappings that are listed in one hold of the host's lock. */
#define MSHARE_MAPS_PIECE	64

struct mshare_maps {
	struct file *file;		/* of the region */
	struct mshare_region *region;	/* while the host is locked, else NULL */
	unsigned int nr;		/* listed since the lock was taken */
};

static int mshare_maps_lock(struct mshare_maps *maps)
{
	struct mshare_region *region = msharefs_region(file_inode(maps->file));

	if (!percpu_ref_tryget_live(&region->pin))
		return -ENOENT;
	if (mmap_read_lock_killable(mshare_region_mm(region))) {
		mshare_put(region);
		return -EINTR;
	}
	maps->region = region;
	maps->nr = 0;

	return 0;
}

static void mshare_maps_unlock(struct mshare_maps *maps)
{
	struct mshare_region *region = maps->region;

	maps->region = NULL;
	mmap_read_unlock(mshare_region_mm(region));
	mshare_put(region);
}

/* The first mapping that ends behind the address *@pos. */
static struct vm_area_struct *mshare_maps_find(struct mshare_maps *maps,
					       loff_t *pos)
{
	struct mm_struct *host = mshare_region_mm(maps->region);
	struct vm_area_struct *vma = find_vma(host, *pos);

	*pos = vma ? vma->vm_start : LLONG_MAX;
	maps->nr++;

	return vma;
}

static void *mshare_maps_start(struct seq_file *m, loff_t *pos)
{
	struct mshare_maps *maps = m->private;
	int err = mshare_maps_lock(maps);

	/* If the region is gone, the listing is empty. */
	if (err)
		return err == -ENOENT ? NULL : ERR_PTR(err);

	return mshare_maps_find(maps, pos);
}

static void *mshare_maps_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct mshare_maps *maps = m->private;
	struct vm_area_struct *vma = v;
	int err;

	*pos = vma->vm_end;
	if (maps->nr >= MSHARE_MAPS_PIECE) {
		mshare_maps_unlock(maps);
		cond_resched();
		err = mshare_maps_lock(maps);
		if (err)
			return err == -ENOENT ? NULL : ERR_PTR(err);
	}

	return mshare_maps_find(maps, pos);
}

static void mshare_maps_stop(struct seq_file *m, void *v)
{
	struct mshare_maps *maps = m->private;

	if (maps->region)
		mshare_maps_unlock(maps);
}

static int mshare_maps_show(struct seq_file *m, void *v)
{
	show_map_vma(m, v);
	return 0;
}

static const struct seq_operations mshare_maps_seq = {
	.start	= mshare_maps_start,
	.next	= mshare_maps_next,
	.stop	= mshare_maps_stop,
	.show	= mshare_maps_show,
};

static int mshare_maps_release(struct inode *inode, struct file *file)
{
	struct seq_file *m = file->private_data;
	struct mshare_maps *maps;

	/* mshare_maps_open() has failed half-way. */
	if (!m)
		return 0;

	maps = m->private;
	fput(maps->file);
	return seq_release_private(inode, file);
}

static const struct file_operations mshare_maps_operations = {
	.read_iter	= seq_read_iter,
	.llseek		= seq_lseek,
	.release	= mshare_maps_release,
};

/**
 * mshare_maps_open - open the listing of what a region maps
 * @region_file: an open file of the region
 *
 * May sleep. Return: a new descriptor of the caller, with O_CLOEXEC set;
 * -EBADF if @region_file is not open for reading, -EMFILE, -ENFILE or -ENOMEM.
 */
int mshare_maps_open(struct file *region_file)
{
	struct mshare_maps *maps;
	struct file *file;
	int fd;

	if (!(region_file->f_mode & FMODE_READ))
		return -EBADF;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;

	file = anon_inode_getfile("[mshare-maps]", &mshare_maps_operations,
				  NULL, O_RDONLY);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}

	maps = __seq_open_private(file, &mshare_maps_seq, sizeof(*maps));
	if (!maps) {
		fput(file);
		put_unused_fd(fd);
		return -ENOMEM;
	}

	maps->file = get_file(region_file);
	fd_install(fd, file);
	return fd;
}
