// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: from a window to the host. A system call that acts on a window goes on
 * with the host and its lock instead of the caller's. This also has what only
 * mmap() needs: which mappings a region may hold, and where it puts them.
 */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/gfs2_ondisk.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mshare_bound.h>
#include <linux/security.h>
#include <linux/shmem_fs.h>
#include <linux/userfaultfd_k.h>

#include "internal.h"
#include "mshare.h"

struct mm_struct *__mshare_redirect(struct mm_struct *mm, unsigned long start,
				    unsigned long len, unsigned int op,
				    struct mshare_region **regionp)
{
	struct mshare_region *region = NULL;
	struct mm_struct *host = NULL;
	struct mshare_attach *att;
	unsigned long end;
	int err = 0;

	mmap_assert_locked(mm);

	*regionp = NULL;

	/* Treat an empty range as its first byte; the caller decides on it. */
	if (check_add_overflow(start, max(len, 1UL), &end))
		end = ULONG_MAX;

	rcu_read_lock();
	hlist_for_each_entry_rcu(att, &mm->mshare_attached, mm_node) {
		if (start >= att->end || end <= att->start)
			continue;
		/* unlikely: do not compute the rest where it does not matter. */
		if (unlikely(op & MSHARE_OP_DETACH) &&
		    start <= att->start && end >= att->end)
			continue;
		if (start < att->start || end > att->end)
			err = -EINVAL;
		else if ((op & MSHARE_OP_MODIFY) && !att->writable)
			err = -EACCES;
		else if (percpu_ref_tryget_live(&att->region->pin))
			region = att->region;
		break;
	}
	rcu_read_unlock();

	if (!err && !region)
		return mm;

	if (op & MSHARE_OP_READ_LOCKED)
		mmap_read_unlock(mm);
	else
		mmap_write_unlock(mm);

	if (err)
		return ERR_PTR(err);

	host = region->mm;
	if (op & MSHARE_OP_READ_LOCKED)
		err = mshare_read_lock_host(host);
	else
		err = mmap_write_lock_killable(host);
	if (err) {
		mshare_put(region);
		return ERR_PTR(-EINTR);
	}

	*regionp = region;
	return host;
}

/*
 * What may live in a region
 */

unsigned long mshare_get_unmapped_area(struct mm_struct *host,
				       unsigned long addr, unsigned long len,
				       unsigned long flags)
{
	struct mshare_region *region = host->mshare_host;
	struct ma_state mas;
	int err;

	mmap_assert_write_locked(host);

	if (flags & MAP_FIXED) {
		if (offset_in_page(addr))
			return -EINVAL;
		/* No VMA of the host marks the border of the region. */
		if (!mshare_region_holds(region, addr, len))
			return -EINVAL;
	} else {
		if (len > region->end - region->start)
			return -ENOMEM;
		mas_init(&mas, &host->mm_mt, 0);
		if (mas_empty_area_rev(&mas, region->start, region->end - 1,
				       len))
			return -ENOMEM;
		addr = mas.last + 1 - len;
	}

	err = security_mmap_addr(addr);
	return err ? err : addr;
}

/*
 * The kinds of files that a region may map. Reading a page of such a file needs
 * no help from a program or another machine. Otherwise that program could block
 * the sharers, which may not even know of the file. This lists what is allowed,
 * not what is forbidden, as new kinds of files keep coming.
 */
static bool mshare_file_ok(struct file *file)
{
	/* For overlayfs, look at the underlying file. */
	struct inode *inode = d_real_inode(file->f_path.dentry);
	struct super_block *sb = inode->i_sb;

	if (!S_ISREG(inode->i_mode) || IS_DAX(inode))
		return false;
	if (shmem_mapping(inode->i_mapping) || sb->s_magic == RAMFS_MAGIC)
		return true;

	if (!(sb->s_type->fs_flags & FS_REQUIRES_DEV))
		return false;
	/* In place of a disk, EROFS may have a file of any kind, or a program. */
	if (sb->s_magic == EROFS_SUPER_MAGIC_V1 && !sb->s_bdev)
		return false;

	/*
	 * Even with a disk, FUSE is served by a program, and file systems of
	 * clusters wait for locks that other machines hold.
	 */
	return sb->s_magic != FUSE_SUPER_MAGIC && sb->s_magic != GFS2_MAGIC &&
	       sb->s_magic != OCFS2_SUPER_MAGIC;
}

/* What the arguments alone can tell, before anything has changed. */
int mshare_may_map(struct file *file, unsigned long flags)
{
	if (flags & (MAP_GROWSDOWN | MAP_HUGETLB))
		return -EOPNOTSUPP;
	if ((flags & MAP_TYPE) == MAP_DROPPABLE)
		return -EOPNOTSUPP;
	if (file && !mshare_file_ok(file))
		return -EOPNOTSUPP;

	return 0;
}

/*
 * To be called after ->mmap(). A driver that keeps state per VMA does not
 * expect a VMA that no process owns.
 */
bool mshare_vma_ok(struct vm_area_struct *vma)
{
	const struct vm_operations_struct *ops = vma->vm_ops;

	if (vma->vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP | VM_HUGETLB |
			     VM_GROWSDOWN | VM_SHADOW_STACK | VM_DROPPABLE |
			     VM_DONTEXPAND | VM_MSHARE))
		return false;
	/* ->mmap() may have replaced the file. */
	if (!vma_is_anonymous(vma) && vma->vm_file &&
	    !mshare_file_ok(vma->vm_file))
		return false;
	if (ops && (ops->open || ops->close || ops->mremap || ops->may_split))
		return false;

	return true;
}

/*
 * The rest of mmap() for a caller that has windows. Its mmap_lock is held for
 * writing and is dropped here. The LSM has been asked.
 *
 * Only a fixed address maps into a window, a hint never does: runtimes give a
 * hint for each arena, and expect private memory.
 */
unsigned long mshare_mmap(struct file *file, unsigned long addr,
			  unsigned long len, unsigned long prot,
			  unsigned long flags, unsigned long pgoff)
{
	struct mm_struct *mm = current->mm;
	struct mshare_region *region = NULL;
	unsigned long populate, ret;
	LIST_HEAD(uf);

	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
		mm = mshare_redirect(mm, addr & PAGE_MASK, PAGE_ALIGN(len),
				     MSHARE_OP_MODIFY, &region);
		if (IS_ERR(mm))
			return PTR_ERR(mm);
	}

	ret = do_mmap_mm(mm, file, addr, len, prot, flags, 0, pgoff, &populate,
			 &uf);
	mmap_write_unlock(mm);
	userfaultfd_unmap_complete(mm, &uf);
	if (populate)
		populate_mm_range(mm, ret, populate, 1);
	mshare_put(region);

	return ret;
}
