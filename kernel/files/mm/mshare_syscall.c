// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare() and mshare_unlink().
 */
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/fsnotify.h>
#include <linux/futex.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mount.h>
#include <linux/mshare.h>
#include <linux/namei.h>
#include <linux/sched/signal.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/syscalls.h>
#include <linux/wait_bit.h>
#include <uapi/linux/mshare.h>

#include <asm/mshare.h>

#include "mshare.h"

#define MSHAREFS_PATH	"/sys/fs/mshare"
#define MSHARE_OFLAGS	(O_ACCMODE | O_CREAT | O_EXCL)

/* The arguments of mshare(), after they have been checked. */
struct mshare_request {
	const char *name;
	int name_len;
	unsigned long start;
	unsigned long end;
	int oflag;
	umode_t mode;
};

/*
 * The access that a window gives, for the LSM. A sharer that may write can also
 * execute what any sharer, or the sharer itself, maps executable. In a
 * read-only window nothing can be executed.
 */
static unsigned long window_prot(bool writable)
{
	return writable ? PROT_READ | PROT_WRITE | PROT_EXEC : PROT_READ;
}

static bool request_writable(const struct mshare_request *req)
{
	return (req->oflag & O_ACCMODE) == O_RDWR;
}

/* A name is one component of a path. Return: the name, to be kfree()d. */
static char *mshare_get_name(const char __user *uname, int *ret_len)
{
	char *name;
	long len;

	name = kmalloc(NAME_MAX + 2, GFP_KERNEL);
	if (!name)
		return ERR_PTR(-ENOMEM);

	len = strncpy_from_user(name, uname, NAME_MAX + 2);
	if (len == 0)
		len = -ENOENT;
	else if (len > NAME_MAX)
		len = -ENAMETOOLONG;
	else if (len > 0 && (strchr(name, '/') || !strcmp(name, ".") ||
			     !strcmp(name, "..")))
		len = -EINVAL;
	if (len < 0) {
		kfree(name);
		return ERR_PTR(len);
	}

	*ret_len = len;
	return name;
}

/*
 * The root of msharefs as the caller sees it. Mount namespaces and chroot() may
 * hide it.
 */
static int mshare_get_root(struct path *root)
{
	int err;

	err = kern_path(MSHAREFS_PATH, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, root);
	if (err == -ENOENT)
		return -ENODEV;
	if (err)
		return err;

	if (root->dentry->d_sb->s_magic != MSHAREFS_MAGIC ||
	    !IS_ROOT(root->dentry)) {
		path_put(root);
		return -ENODEV;
	}

	return 0;
}

/* Look up an existing name, without the directory's lock. */
static struct dentry *mshare_lookup(const struct path *root, const char *name,
				    int len)
{
	int err;

	err = inode_permission(mnt_idmap(root->mnt), d_inode(root->dentry),
			       MAY_EXEC);
	if (err)
		return ERR_PTR(err);

	return lookup_positive_unlocked(name, root->dentry, len);
}

/* Killable, as readdir() writes to user memory while it holds this lock. */
static int mshare_lock_dir(struct inode *dir)
{
	return down_write_killable_nested(&dir->i_rwsem, I_MUTEX_PARENT) ?
	       -EINTR : 0;
}

/*
 * A name appears before its creator has succeeded. Wait until the creator has
 * succeeded or failed. This may take long, as faults on the creator's memory
 * may take long. Return: 0; -ENOENT if the creation has failed; -EINTR on a
 * fatal signal.
 */
static int mshare_wait_made(struct mshare_region *region)
{
	unsigned long *flags = &region->flags;

	if (wait_var_event_killable(flags,
				    test_bit_acquire(MSHARE_REGION_READY,
						     flags) ||
				    test_bit(MSHARE_REGION_FAILED, flags)))
		return -EINTR;

	return test_bit(MSHARE_REGION_READY, flags) ? 0 : -ENOENT;
}

/* The creation of @region is complete. Pairs with mshare_wait_made(). */
static void mshare_made(struct mshare_region *region, int outcome)
{
	/* Order everything that has been created before the flag. */
	smp_mb__before_atomic();
	set_bit(outcome, &region->flags);
	/* Order the flag before the check for waiters. */
	smp_mb__after_atomic();
	wake_up_var(&region->flags);
}

/*
 * Make the caller a sharer of the region of @file. Permissions have been
 * checked. Return: 0 or an error; -ENOENT if the region is gone, or its
 * creation has failed.
 */
static int mshare_attach_file(struct mshare_region *region, struct file *file,
			      bool writable)
{
	int err;

	err = mshare_wait_made(region);
	if (err)
		return err;
	err = security_mmap_file(file, window_prot(writable), MAP_SHARED);
	if (err)
		return err;

	if (mmap_write_lock_killable(current->mm))
		return -EINTR;
	err = mshare_attach(current->mm, region, file, writable, NULL);
	mmap_write_unlock(current->mm);

	return err;
}

/*
 * Attach to a region that has a name. Return: 0 or an error; -ENOENT if the
 * region is gone, or its creation has failed.
 */
static int mshare_attach_existing(const struct path *root,
				  struct dentry *dentry,
				  const struct mshare_request *req)
{
	struct path path = { .mnt = root->mnt, .dentry = dentry };
	struct inode *inode = d_inode(dentry);
	struct mshare_region *region = msharefs_region(inode);
	bool writable = request_writable(req);
	struct file *file;
	int err;

	err = inode_permission(mnt_idmap(root->mnt), inode,
			       writable ? MAY_READ | MAY_WRITE : MAY_READ);
	if (err)
		return err;
	if (writable && test_bit(MSHARE_REGION_RO, &region->flags))
		return -EACCES;
	if (req->start != region->start || req->end != region->end)
		return -EINVAL;

	file = dentry_open(&path, (writable ? O_RDWR : O_RDONLY) | O_LARGEFILE,
			   current_cred());
	if (IS_ERR(file))
		return PTR_ERR(file);

	err = mshare_attach_file(region, file, writable);
	fput(file);

	return err;
}

/* Check the arguments of mmap() of a region's file. */
static int mshare_check_mmap(struct mshare_region *region, struct file *file,
			     unsigned long addr, unsigned long len,
			     unsigned long prot, unsigned long flags,
			     unsigned long pgoff)
{
	switch (flags & MAP_TYPE) {
	case MAP_SHARED_VALIDATE:
		if (flags & ~(LEGACY_MAP_MASK | MAP_FIXED_NOREPLACE))
			return -EOPNOTSUPP;
		break;
	case MAP_SHARED:
		break;
	default:
		return -EINVAL;
	}
	if (flags & (MAP_GROWSDOWN | MAP_HUGETLB))
		return -EINVAL;
	/* A window locks nothing, so do not accept the flag. */
	if ((flags & MAP_LOCKED) || !arch_mshare_supported())
		return -EOPNOTSUPP;

	/* A region has one address. A hint for another one is ignored. */
	if (pgoff || len != region->end - region->start)
		return -EINVAL;
	if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) &&
	    addr != region->start)
		return -EINVAL;
	if (region->end > TASK_SIZE)
		return -EINVAL;

	/* As in every file system that is mounted noexec. */
	if (prot & PROT_EXEC)
		return -EPERM;
	/* A window is always readable. */
	if (!(prot & PROT_READ))
		return -EINVAL;
	if (!(file->f_mode & FMODE_READ))
		return -EACCES;
	if ((prot & PROT_WRITE) &&
	    (!(file->f_mode & FMODE_WRITE) ||
	     test_bit(MSHARE_REGION_RO, &region->flags)))
		return -EACCES;

	return security_mmap_addr(region->start);
}

/*
 * mmap() of a region's file attaches the region. The descriptor alone gives the
 * right: it may come from another process, and the caller need not see the
 * file. This runs in place of do_mmap(), which unmaps what is in the way before
 * it calls into the file.
 *
 * Return: the region's address, or an error, with nothing changed.
 */
unsigned long mshare_mmap_file(struct file *file, unsigned long addr,
			       unsigned long len, unsigned long prot,
			       unsigned long flags, unsigned long pgoff)
{
	struct mshare_region *region = msharefs_region(file_inode(file));
	int err;

	err = mshare_check_mmap(region, file, addr, len, prot, flags, pgoff);
	if (!err)
		err = mshare_attach_file(region, file, prot & PROT_WRITE);

	return err ?: region->start;
}

/* The donation is prepared, and the host is locked for writing as well. */
static int mshare_attach_donor(struct mm_struct *mm,
			       struct mshare_region *region, struct file *file,
			       bool writable, struct mshare_donation *donation)
{
	int err;

	if (writable)
		return mshare_attach(mm, region, file, writable, donation);

	/*
	 * Fast GUP takes no lock. As in fork(), this makes it take the slow
	 * path, and undo a pin that it is just taking.
	 */
	raw_write_seqcount_begin(&mm->write_protect_seq);
	err = mshare_donate_check_pins(mm, donation);
	if (!err)
		err = mshare_attach(mm, region, file, writable, donation);
	raw_write_seqcount_end(&mm->write_protect_seq);

	return err;
}

/*
 * Make the caller the first sharer of a new region, and move its mappings in
 * the range into the region. Return: 0 or an error, with nothing changed.
 */
static int mshare_attach_maker(struct mshare_region *region, struct file *file,
			       bool writable)
{
	struct mm_struct *host = mshare_region_mm(region);
	struct mshare_donation donation = {};
	struct mm_struct *mm = current->mm;
	int err;

	if (mmap_write_lock_killable(mm))
		return -EINTR;

	err = mshare_donate_check(mm, region->start, region->end, &donation);
	if (err)
		goto out;

	err = -EINTR;
	if (mmap_write_lock_killable(host))
		goto out;
	if (!donation.nr) {
		err = mshare_alloc_host_pmds(region, NULL);
		mmap_write_unlock(host);
		if (!err)
			err = mshare_attach(mm, region, file, writable, NULL);
		goto out;
	}

	err = mshare_donate_prepare(host, mm, region->start, region->end,
				    &donation);
	if (!err) {
		err = mshare_attach_donor(mm, region, file, writable,
					  &donation);
		if (err)
			mshare_donate_abort(host, &donation);
	}
	mmap_write_unlock(host);
	mmap_write_unlock(mm);
	if (!err)
		futex_wake_donated(mm, region->start, region->end);
	return err;

out:
	mmap_write_unlock(mm);
	return err;
}

/*
 * Give the region its name, if the name is free. Unlock the directory
 * afterwards, as what follows may wait for the memory of the creator. Return:
 * the dentry, or -EEXIST or another error.
 */
static struct dentry *mshare_reserve_name(const struct path *root,
					  const struct mshare_request *req,
					  struct inode *inode)
{
	struct inode *dir = d_inode(root->dentry);
	struct dentry *dentry;
	int err;

	err = mnt_want_write(root->mnt);
	if (err)
		return ERR_PTR(err);
	err = mshare_lock_dir(dir);
	if (err)
		goto out_write;

	dentry = lookup_one_len(req->name, root->dentry, req->name_len);
	if (IS_ERR(dentry)) {
		err = PTR_ERR(dentry);
		goto out_dir;
	}

	err = -EEXIST;
	if (d_is_positive(dentry))
		goto out_dput;
	err = inode_permission(mnt_idmap(root->mnt), dir, MAY_WRITE | MAY_EXEC);
	if (err)
		goto out_dput;
	err = security_path_mknod(root, dentry, inode->i_mode, 0);
	if (err)
		goto out_dput;
	err = security_inode_create(dir, dentry, inode->i_mode);
	if (err)
		goto out_dput;
	/* A label can only be kept in the inode. */
	err = security_inode_init_security(inode, dir, &dentry->d_name, NULL,
					   NULL);
	if (err && err != -EOPNOTSUPP)
		goto out_dput;

	/* The name holds a reference, as simple_unlink() expects. */
	ihold(inode);
	d_instantiate(dentry, inode);
	msharefs_list(inode);
	dget(dentry);
	inode_set_mtime_to_ts(dir, inode_set_ctime_current(dir));
	err = 0;

out_dput:
	if (err)
		dput(dentry);
out_dir:
	inode_unlock(dir);
out_write:
	mnt_drop_write(root->mnt);
	return err ? ERR_PTR(err) : dentry;
}

/* The creation has failed: remove the name, if it is still there. */
static void mshare_remove_reserved(const struct path *root,
				   struct dentry *dentry)
{
	struct inode *dir = d_inode(root->dentry);

	inode_lock_nested(dir, I_MUTEX_PARENT);
	if (!d_unhashed(dentry)) {
		msharefs_unlink(dir, dentry);
		d_delete(dentry);
	}
	inode_unlock(dir);
}

/* Attach the creator to its region, which has a name now. */
static int mshare_attach_first(const struct path *root, struct dentry *dentry,
			       struct mshare_region *region, bool writable)
{
	struct path path = { .mnt = root->mnt, .dentry = dentry };
	struct file *file;
	int err;

	file = dentry_open(&path, (writable ? O_RDWR : O_RDONLY) | O_LARGEFILE,
			   current_cred());
	if (IS_ERR(file))
		return PTR_ERR(file);

	err = security_mmap_file(file, window_prot(writable), MAP_SHARED);
	if (!err)
		err = mshare_attach_maker(region, file, writable);
	fput(file);

	return err;
}

/*
 * Create a region and attach the creator. Return: 0; -EEXIST if a region of
 * that name exists or is being created; or another error, with nothing changed.
 */
static int mshare_create(const struct path *root,
			 const struct mshare_request *req)
{
	struct inode *dir = d_inode(root->dentry);
	bool writable = request_writable(req);
	struct mshare_region *region;
	struct dentry *dentry;
	struct inode *inode;
	int err;

	/* For an early error; checked again when the directory is locked. */
	err = inode_permission(mnt_idmap(root->mnt), dir, MAY_WRITE | MAY_EXEC);
	if (err)
		return err;
	/* The permission was granted after mshare() had checked it. */
	if (!static_key_enabled(&mshare_key))
		return -EACCES;

	region = mshare_region_create(req->name, req->start, req->end,
				      !writable);
	if (IS_ERR(region))
		return PTR_ERR(region);

	inode = msharefs_new_inode(dir, req->mode, region);
	err = PTR_ERR_OR_ZERO(inode);
	if (err)
		goto out_region;

	dentry = mshare_reserve_name(root, req, inode);
	err = PTR_ERR_OR_ZERO(dentry);
	if (err)
		goto out_inode;

	err = mshare_attach_first(root, dentry, region, writable);
	if (err) {
		mshare_remove_reserved(root, dentry);
		mshare_made(region, MSHARE_REGION_FAILED);
	} else {
		mshare_made(region, MSHARE_REGION_READY);
		fsnotify_create(dir, dentry);
	}
	dput(dentry);

out_inode:
	iput(inode);
out_region:
	/* Held until here, as another process may remove the name meanwhile. */
	mshare_drop(region);
	return err;
}

/* Check the range of a region. Tagged addresses are refused. */
static int mshare_check_geometry(unsigned long addr, size_t len)
{
	unsigned long end;

	/* Granule 0 holds mmap_min_addr and the text of static programs. */
	if (!addr || !len)
		return -EINVAL;
	if (!IS_ALIGNED(addr, PUD_SIZE) || !IS_ALIGNED(len, PUD_SIZE))
		return -EINVAL;
	if (check_add_overflow(addr, len, &end) || end > TASK_SIZE)
		return -EINVAL;

	return 0;
}

/*
 * Attach to an existing region or create one. Return: 0 or an error; -EAGAIN if
 * with O_CREAT the name appeared or disappeared meanwhile.
 */
static int mshare_open(const struct path *root,
		       const struct mshare_request *req)
{
	struct dentry *dentry;
	int err;

	dentry = mshare_lookup(root, req->name, req->name_len);
	if (!IS_ERR(dentry)) {
		if ((req->oflag & O_CREAT) && (req->oflag & O_EXCL))
			err = -EEXIST;
		else
			err = mshare_attach_existing(root, dentry, req);
		dput(dentry);
		return err == -ENOENT && (req->oflag & O_CREAT) ? -EAGAIN : err;
	}

	err = PTR_ERR(dentry);
	if (err != -ENOENT || !(req->oflag & O_CREAT))
		return err;

	err = mshare_create(root, req);
	return err == -EEXIST && !(req->oflag & O_EXCL) ? -EAGAIN : err;
}

SYSCALL_DEFINE5(mshare, const char __user *, uname, unsigned long, addr,
		size_t, len, int, oflag, umode_t, mode)
{
	struct mshare_request req;
	struct path root;
	char *name;
	int err;

	if (oflag & ~MSHARE_OFLAGS)
		return -EINVAL;
	if ((oflag & O_ACCMODE) != O_RDONLY && (oflag & O_ACCMODE) != O_RDWR)
		return -EINVAL;
	err = mshare_check_geometry(addr, len);
	if (err)
		return err;
	if (!arch_mshare_supported())
		return -EOPNOTSUPP;

	name = mshare_get_name(uname, &req.name_len);
	if (IS_ERR(name))
		return PTR_ERR(name);

	req.name = name;
	req.start = addr;
	req.end = addr + len;
	req.oflag = oflag;
	req.mode = mode & 0777;

	err = mshare_get_root(&root);
	if (err)
		goto out_name;

	/*
	 * Do this before taking any lock, as it takes the CPU hotplug lock. A
	 * caller that may not create can only find an existing region, and the
	 * creator of that has enabled the key.
	 */
	if ((oflag & O_CREAT) && !path_permission(&root, MAY_WRITE | MAY_EXEC))
		static_branch_enable(&mshare_key);

	do {
		err = mshare_open(&root, &req);
		/* Retry if the name has appeared or disappeared meanwhile. */
	} while (err == -EAGAIN && !fatal_signal_pending(current));
	if (err == -EAGAIN)
		err = -EINTR;

	path_put(&root);
out_name:
	kfree(name);
	return err;
}

/*
 * Remove the name, if it is still the name of @region (or of any region, if
 * that is NULL). If @unless_shared is set, keep it if the region has sharers.
 */
static int mshare_remove_name(const struct path *root, const char *name,
			      int len, struct mshare_region *region,
			      bool unless_shared)
{
	struct inode *dir = d_inode(root->dentry);
	struct mshare_region *found;
	struct dentry *dentry;
	int err;

	err = mnt_want_write(root->mnt);
	if (err)
		return err;
	err = mshare_lock_dir(dir);
	if (err)
		goto out_write;

	dentry = lookup_one_len(name, root->dentry, len);
	if (IS_ERR(dentry)) {
		err = PTR_ERR(dentry);
		goto out;
	}

	err = -ENOENT;
	if (d_is_negative(dentry))
		goto out_dput;
	found = msharefs_region(d_inode(dentry));
	if (region && found != region)
		goto out_dput;

	err = 0;
	if (unless_shared && atomic_read(&found->nr_sharers))
		goto out_dput;

	err = security_path_unlink(root, dentry);
	if (!err)
		err = vfs_unlink(mnt_idmap(root->mnt), dir, dentry, NULL);

out_dput:
	dput(dentry);
out:
	inode_unlock(dir);
out_write:
	mnt_drop_write(root->mnt);
	return err;
}

/*
 * Find the region of that name that the caller shares. If the name is gone, or
 * belongs to a region that the caller does not share, find a region that used
 * to have the name and that the caller still shares. Return: the region, for
 * mshare_put(), or NULL.
 */
static struct mshare_region *mshare_find_attached(const struct path *root,
						  const char *name, int len)
{
	struct mshare_region *region = NULL;
	struct dentry *dentry;

	if (!mm_has_mshare_windows(current->mm))
		return NULL;

	dentry = mshare_lookup(root, name, len);
	if (!IS_ERR(dentry)) {
		region = msharefs_region(d_inode(dentry));
		region = mshare_find_window_of(current->mm, name, region);
		dput(dentry);
		if (region)
			return region;
	}

	/* Detaching needs no permission, not even to look up the name. */
	return mshare_find_window_of(current->mm, name, NULL);
}

static int mshare_leave(struct mshare_region *region)
{
	int err = mshare_detach(current->mm, region);

	/* Another thread has removed the window meanwhile, which is fine. */
	return err == -ENOENT ? 0 : err;
}

SYSCALL_DEFINE1(mshare_unlink, const char __user *, uname)
{
	struct mshare_region *region;
	struct path root;
	char *name;
	int len, err;

	name = mshare_get_name(uname, &len);
	if (IS_ERR(name))
		return PTR_ERR(name);

	err = mshare_get_root(&root);
	if (err) {
		/* Without msharefs, it may have attached by a descriptor. */
		region = mshare_find_window_of(current->mm, name, NULL);
		if (region) {
			err = mshare_leave(region);
			mshare_put(region);
		}
		goto out_name;
	}

	region = mshare_find_attached(&root, name, len);
	if (region) {
		err = mshare_leave(region);
		if (!err)
			(void)mshare_remove_name(&root, name, len, region,
						 true);
		mshare_put(region);
	} else {
		err = mshare_remove_name(&root, name, len, NULL, false);
	}

	path_put(&root);
out_name:
	kfree(name);
	return err;
}
