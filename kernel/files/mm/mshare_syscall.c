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

/* What a caller of mshare() asks for, once it has been found to make sense. */
struct mshare_request {
	const char *name;
	int name_len;
	unsigned long start;
	unsigned long end;
	int oflag;
	umode_t mode;
};

/*
 * What a window gives, for the LSM. A sharer that may write executes what anyone
 * maps executable, and may map it so itself; a read-only window executes nothing.
 */
static unsigned long window_prot(bool writable)
{
	return writable ? PROT_READ | PROT_WRITE | PROT_EXEC : PROT_READ;
}

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

/* A positive dentry, without the directory's lock. */
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

/* Killable: readdir() writes to its caller's memory while it holds this lock. */
static int mshare_lock_dir(struct inode *dir)
{
	return down_write_killable_nested(&dir->i_rwsem, I_MUTEX_PARENT) ?
	       -EINTR : 0;
}

/*
 * A name appears before it is known whether its maker succeeds: wait for that.
 * It may take long, as the maker's memory may. Return: 0; -ENOENT if there is
 * to be no such region; -EINTR on a fatal signal.
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

/* The maker of @region is done with it. Pairs with mshare_wait_made(). */
static void mshare_made(struct mshare_region *region, int outcome)
{
	/* All that has been made before the word that it is. */
	smp_mb__before_atomic();
	set_bit(outcome, &region->flags);
	/* The word before the look for whoever waits for it. */
	smp_mb__after_atomic();
	wake_up_var(&region->flags);
}

/*
 * Make the caller a sharer of the region that @file is of, which it may be: who
 * opened the file, and how, has been looked at. Return: 0 or an error; -ENOENT if
 * the region is gone, or has never come to be.
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
 * Attach to a region that has a name. Return: 0 or an error; -ENOENT if it turns
 * out not to exist.
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

/* What mmap() of a region's file may be given; what makes no sense is refused. */
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
	/* A window locks nothing: better to say so than to seem to. */
	if ((flags & MAP_LOCKED) || !arch_mshare_supported())
		return -EOPNOTSUPP;

	/* There is one place where it can be. A hint elsewhere is but a hint. */
	if (pgoff || len != region->end - region->start)
		return -EINVAL;
	if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) &&
	    addr != region->start)
		return -EINVAL;
	if (region->end > TASK_SIZE)
		return -EINVAL;

	/* As on all that is mounted without exec. */
	if (prot & PROT_EXEC)
		return -EPERM;
	/* Not to be had. */
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
 * mmap() of a region's file attaches the region. The descriptor is the right: it
 * may have come from another process, and its file need not be in sight. Comes in
 * before do_mmap(), which unmaps what is in the way before it asks a file.
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
	 * Fast GUP takes no lock. As in fork(), this sends it to the slow way,
	 * and makes it undo a pin that it is just taking.
	 */
	raw_write_seqcount_begin(&mm->write_protect_seq);
	err = mshare_donate_check_pins(mm, donation);
	if (!err)
		err = mshare_attach(mm, region, file, writable, donation);
	raw_write_seqcount_end(&mm->write_protect_seq);

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
 * Give the region its name, if that is free. The directory is locked for no
 * longer than this: what follows may wait for whatever the maker's memory is.
 * Return: the dentry, or -EEXIST or another error.
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
	/* There is nowhere to keep a label but the inode. */
	err = security_inode_init_security(inode, dir, &dentry->d_name, NULL,
					   NULL);
	if (err && err != -EOPNOTSUPP)
		goto out_dput;

	/* As simple_unlink() expects it: the name holds a reference. */
	ihold(inode);
	d_instantiate(dentry, inode);
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

/* The maker has failed: take the name back, if nobody else has. */
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

/* Make the maker a sharer of the region that it has a name for. */
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
 * Make a region and attach its maker. Return: 0; -EEXIST if there is one of that
 * name, made or being made; or another error, with nothing changed.
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

	/* Again, and for good, when the directory is locked. */
	err = inode_permission(mnt_idmap(root->mnt), dir, MAY_WRITE | MAY_EXEC);
	if (err)
		return err;
	/* Whom the directory admits since a moment ago only: see mshare(). */
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
	/* Until here: the name may be taken away while its maker is at it. */
	mshare_drop(region);
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

/*
 * Find or make. Return: 0, or an error; -EAGAIN if with O_CREAT the name came or
 * went meanwhile.
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
	 * Before any lock: it takes the one against CPU hotplug. Who may not
	 * create can but find a region, and its maker has been here.
	 */
	if ((oflag & O_CREAT) && !path_permission(&root, MAY_WRITE | MAY_EXEC))
		static_branch_enable(&mshare_key);

	do {
		err = mshare_open(&root, &req);
		/* A name that was there when it was looked for, or was not. */
	} while (err == -EAGAIN && !fatal_signal_pending(current));
	if (err == -EAGAIN)
		err = -EINTR;

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

static int mshare_leave(struct mshare_region *region)
{
	int err = mshare_detach(current->mm, region);

	/* Another thread was faster: it is gone, as was asked for. */
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
		/* Attached by a descriptor, from where there is no msharefs. */
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
