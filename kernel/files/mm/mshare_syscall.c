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
#include <uapi/linux/mshare.h>

#include <asm/mshare.h>

#include "mshare.h"

#define MSHAREFS_PATH	"/sys/fs/mshare"
#define MSHARE_OFLAGS	(O_ACCMODE | O_CREAT | O_EXCL)

/* What a caller of mshare() asks for, once it has been found to make sense. */
struct mshare_request {
	const char *name;
	int name_len;
	unsigned long start;
	unsigned long end;
	int oflag;
	umode_t mode;
};

static bool request_writable(const struct mshare_request *req)
{
	return (req->oflag & O_ACCMODE) == O_RDWR;
}

/* A name is one component of a path. Return: the name, for kfree(). */
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
 * The root of msharefs as the caller sees it: mount namespaces and chroot()
 * hide it like anything else.
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

/*
 * A positive dentry without the directory's lock, if there is one and its
 * region has been made. While it is being made, wait for its maker.
 */
static struct dentry *mshare_lookup(const struct path *root, const char *name,
				    int len)
{
	struct inode *dir = d_inode(root->dentry);
	struct mshare_region *region;
	struct dentry *dentry;
	int err;

	err = inode_permission(mnt_idmap(root->mnt), dir, MAY_EXEC);
	if (err)
		return ERR_PTR(err);

	for (;;) {
		dentry = lookup_positive_unlocked(name, root->dentry, len);
		if (IS_ERR(dentry))
			return dentry;

		region = msharefs_region(d_inode(dentry));
		if (test_bit(MSHARE_REGION_READY, &region->flags))
			return dentry;

		dput(dentry);
		if (fatal_signal_pending(current))
			return ERR_PTR(-EINTR);
		inode_lock_shared(dir);
		inode_unlock_shared(dir);
	}
}

/*
 * Attach to a region that exists. The caller has not got the directory's lock.
 */
static int mshare_attach_existing(const struct path *root,
				  struct dentry *dentry,
				  const struct mshare_request *req)
{
	struct path path = { .mnt = root->mnt, .dentry = dentry };
	struct inode *inode = d_inode(dentry);
	struct mshare_region *region = msharefs_region(inode);
	bool writable = request_writable(req);
	unsigned long prot = PROT_READ;
	int mask = MAY_READ;
	struct file *file;
	int err;

	if (writable) {
		prot |= PROT_WRITE;
		mask |= MAY_WRITE;
	}

	err = inode_permission(mnt_idmap(root->mnt), inode, mask);
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

	err = security_mmap_file(file, prot, MAP_SHARED);
	if (err)
		goto out;

	err = -EINTR;
	if (mmap_write_lock_killable(current->mm))
		goto out;
	err = mshare_attach(current->mm, region, file, writable, NULL);
	mmap_write_unlock(current->mm);

out:
	fput(file);
	return err;
}

/*
 * Make the caller the first sharer of a new region, and what it has mapped in
 * the range the region's. Return: 0 or an error, with nothing changed.
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
	if (err || !donation.nr) {
		if (!err)
			err = mshare_attach(mm, region, file, writable, NULL);
		goto out;
	}

	err = -EINTR;
	if (mmap_write_lock_killable(host))
		goto out;
	err = mshare_donate_prepare(host, mm, region->start, region->end,
				    &donation);
	if (!err) {
		err = mshare_attach(mm, region, file, writable, &donation);
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
 * Make a region and attach its maker. @dentry is negative, and the directory is
 * locked: nobody else makes the same name. Others may see the new file before
 * it is known to succeed, but mshare_lookup() waits for the outcome.
 */
static int mshare_create(const struct path *root, struct dentry *dentry,
			 const struct mshare_request *req)
{
	struct path path = { .mnt = root->mnt, .dentry = dentry };
	struct inode *dir = d_inode(root->dentry);
	bool writable = request_writable(req);
	struct mshare_region *region;
	umode_t mode = req->mode;
	struct inode *inode;
	struct file *file;
	int err;

	err = inode_permission(mnt_idmap(root->mnt), dir, MAY_WRITE | MAY_EXEC);
	if (err)
		return err;
	/* Whom the directory admits since a moment ago only: see mshare(). */
	if (!static_key_enabled(&mshare_key))
		return -EACCES;
	err = security_path_mknod(root, dentry, S_IFREG | mode, 0);
	if (err)
		return err;
	err = security_inode_create(dir, dentry, S_IFREG | mode);
	if (err)
		return err;

	region = mshare_region_create(req->name, req->start, req->end,
				      !writable);
	if (IS_ERR(region))
		return PTR_ERR(region);

	inode = msharefs_new_inode(dir, mode, region);
	if (IS_ERR(inode)) {
		mshare_put(region);
		return PTR_ERR(inode);
	}

	/* As simple_unlink() expects it: the name holds a reference. */
	d_instantiate(dentry, inode);
	dget(dentry);

	file = dentry_open(&path, (writable ? O_RDWR : O_RDONLY) | O_LARGEFILE,
			   current_cred());
	if (IS_ERR(file)) {
		err = PTR_ERR(file);
		goto err_name;
	}

	err = security_mmap_file(file, writable ? PROT_READ | PROT_WRITE :
				 PROT_READ, MAP_SHARED);
	if (err)
		goto err_file;

	err = mshare_attach_maker(region, file, writable);
	if (err)
		goto err_file;

	set_bit(MSHARE_REGION_READY, &region->flags);
	inode_set_mtime_to_ts(dir, inode_set_ctime_current(dir));
	fsnotify_create(dir, dentry);
	fput(file);
	return 0;

err_file:
	fput(file);
err_name:
	msharefs_unlink(dir, dentry);
	d_delete(dentry);
	return err;
}

/*
 * O_CREAT: find or make, under the directory's lock.
 * Return: 0 if the region was made, 1 if it exists and *ret_dentry is it.
 */
static int mshare_create_or_find(const struct path *root,
				 const struct mshare_request *req,
				 struct dentry **ret_dentry)
{
	struct inode *dir = d_inode(root->dentry);
	struct dentry *dentry;
	int write_err, err;

	/* Counts only if the name does not exist, as with open(2). */
	write_err = mnt_want_write(root->mnt);
	inode_lock_nested(dir, I_MUTEX_PARENT);

	dentry = lookup_one_len(req->name, root->dentry, req->name_len);
	if (IS_ERR(dentry)) {
		err = PTR_ERR(dentry);
		goto out;
	}

	if (d_is_positive(dentry)) {
		if (req->oflag & O_EXCL) {
			err = -EEXIST;
			dput(dentry);
		} else {
			err = 1;
			*ret_dentry = dentry;
		}
		goto out;
	}

	err = write_err;
	if (!err)
		err = mshare_create(root, dentry, req);
	dput(dentry);

out:
	inode_unlock(dir);
	if (!write_err)
		mnt_drop_write(root->mnt);
	return err;
}

/* The range that a region may have. Tagged addresses are refused, not cleaned. */
static int mshare_check_geometry(unsigned long addr, size_t len)
{
	unsigned long end;

	/* Granule 0 holds mmap_min_addr and the text of static programs. */
	if (!addr || !len)
		return -EINVAL;
	if (!IS_ALIGNED(addr, P4D_SIZE) || !IS_ALIGNED(len, P4D_SIZE))
		return -EINVAL;
	if (check_add_overflow(addr, len, &end) || end > TASK_SIZE)
		return -EINVAL;

	return 0;
}

SYSCALL_DEFINE5(mshare, const char __user *, uname, unsigned long, addr,
		size_t, len, int, oflag, umode_t, mode)
{
	struct dentry *dentry = NULL;
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
	 * Before any lock: it takes the one against CPU hotplug. Who may not
	 * create can but find a region, and its maker has been here.
	 */
	if ((oflag & O_CREAT) && !path_permission(&root, MAY_WRITE | MAY_EXEC))
		static_branch_enable(&mshare_key);

	if (oflag & O_CREAT) {
		err = mshare_create_or_find(&root, &req, &dentry);
		if (err <= 0)
			goto out_root;
	} else {
		dentry = mshare_lookup(&root, name, req.name_len);
		if (IS_ERR(dentry)) {
			err = PTR_ERR(dentry);
			goto out_root;
		}
	}

	err = mshare_attach_existing(&root, dentry, &req);
	dput(dentry);

out_root:
	path_put(&root);
out_name:
	kfree(name);
	return err;
}

/*
 * Remove the name, if it still is that of @region (any, if NULL) and, should
 * @unless_shared be set, if nobody shares it.
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
	inode_lock_nested(dir, I_MUTEX_PARENT);

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
	mnt_drop_write(root->mnt);
	return err;
}

/*
 * Which region is meant: the one of that name, or if the caller does not share
 * that, or the name is gone, one that bore it and that the caller still shares.
 * Return: it, for mshare_put(), if the caller is a sharer of it, else NULL.
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

	/* Leaving needs no permission, not even to look the name up. */
	return mshare_find_window_of(current->mm, name, NULL);
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
	if (err)
		goto out_name;

	region = mshare_find_attached(&root, name, len);
	if (region) {
		err = mshare_detach(current->mm, region);
		/* Another thread was faster: it is gone, as was asked for. */
		if (err == -ENOENT)
			err = 0;
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
