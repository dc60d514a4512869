// SPDX-License-Identifier: GPL-2.0-only
/*
 * msharefs: the names, owners and modes of mshare regions.
 *
 * There is one instance, mounted on /sys/fs/mshare, with one file per region
 * and no directory below its root. mshare() creates the files. The contents of
 * a region exist as long as it has a name or a window. An open file keeps only
 * the structs, without mappings, tables or memory.
 */
#include <linux/ctype.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/mshare.h>
#include <linux/pagemap.h>
#include <linux/percpu_counter.h>
#include <linux/poll.h>
#include <linux/posix_acl.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/statfs.h>
#include <linux/sysfs.h>
#include <linux/uio.h>
#include <linux/xarray.h>
#include <linux/xattr.h>
#include <uapi/linux/mshare.h>

#include "mshare.h"

#define MSHAREFS_DEFAULT_MODE	0755

struct msharefs_options {
	kuid_t uid;
	kgid_t gid;
	umode_t mode;
	unsigned long max_pages;
	unsigned int max_regions;
	/* Which options were given: a second mount changes only these. */
	bool has_uid;
	bool has_gid;
	bool has_mode;
	bool has_pages;
	bool has_regions;
};

enum {
	OPT_UID,
	OPT_GID,
	OPT_MODE,
	OPT_NR_REGIONS,
	OPT_SIZE,
};

static const struct fs_parameter_spec msharefs_parameters[] = {
	fsparam_gid("gid", OPT_GID),
	fsparam_u32oct("mode", OPT_MODE),
	fsparam_string("nr_regions", OPT_NR_REGIONS),
	fsparam_string("size", OPT_SIZE),
	fsparam_uid("uid", OPT_UID),
	{}
};

/*
 * Files
 */

struct mshare_region *msharefs_region(struct inode *inode)
{
	return inode->i_private;
}

/*
 * Remember the changes until now: poll() reports only later ones. If two tasks
 * poll the same open file, only one of them gets each report, as with
 * /proc/self/mounts.
 */
static int msharefs_open(struct inode *inode, struct file *file)
{
	struct mshare_region *region = msharefs_region(inode);

	file->private_data =
		(void *)(unsigned long)atomic_read(&region->changes);
	return 0;
}

static __poll_t msharefs_poll(struct file *file, poll_table *wait)
{
	struct mshare_region *region = msharefs_region(file_inode(file));
	__poll_t mask = EPOLLIN | EPOLLRDNORM;
	int told, known;

	poll_wait(file, &region->poll, wait);

	/* open() may have seen changes that poll() does not report yet. */
	told = READ_ONCE(region->told);
	known = (unsigned long)READ_ONCE(file->private_data);
	if ((poll_requested_events(wait) & EPOLLPRI) && told - known > 0) {
		WRITE_ONCE(file->private_data, (void *)(unsigned long)told);
		mask |= EPOLLPRI;
	}
	if (!file_inode(file)->i_nlink && !atomic_read(&region->nr_sharers))
		mask |= EPOLLHUP;

	return mask;
}

/* Not ->read(), as the kernel itself reads files only by ->read_iter(). */
static ssize_t msharefs_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	struct mshare_region *region = msharefs_region(inode);
	struct mshare_info info = {
		.start = region->start,
		.size = region->end - region->start,
	};
	size_t wanted, copied;

	if (iocb->ki_pos >= sizeof(info))
		return 0;

	wanted = min(iov_iter_count(to), sizeof(info) - iocb->ki_pos);
	copied = copy_to_iter((char *)&info + iocb->ki_pos, wanted, to);
	if (!copied && wanted)
		return -EFAULT;
	iocb->ki_pos += copied;

	return copied;
}

static ssize_t msharefs_write(struct file *file, const char __user *buf,
			      size_t count, loff_t *ppos)
{
	return -EPERM;
}

static long msharefs_ioctl(struct file *file, unsigned int cmd,
			   unsigned long arg)
{
	switch (cmd) {
	case MSHARE_IOC_MAPS:
		return mshare_maps_open(file);
	default:
		return -ENOTTY;
	}
}

/*
 * Refuse mappings by other ways than mmap(), which mshare_mmap_file() handles.
 * This is called before existing mappings are unmapped.
 */
static unsigned long msharefs_get_unmapped_area(struct file *file,
						unsigned long addr,
						unsigned long len,
						unsigned long pgoff,
						unsigned long flags)
{
	return -EOPNOTSUPP;
}

/*
 * Exact, unlike get_mm_rss(), which leaves out what is still in the counters of
 * the CPUs. On a large machine that can be more than a small region has.
 */
static unsigned long msharefs_resident_pages(struct mm_struct *host)
{
	return percpu_counter_sum_positive(&host->rss_stat[MM_FILEPAGES]) +
	       percpu_counter_sum_positive(&host->rss_stat[MM_ANONPAGES]) +
	       percpu_counter_sum_positive(&host->rss_stat[MM_SHMEMPAGES]);
}

static void msharefs_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct mshare_region *region = msharefs_region(file_inode(file));
	struct mm_struct *host = region->mm;

	seq_printf(m, "mshare-start:\t%lu\n", region->start);
	seq_printf(m, "mshare-size:\t%lu\n", region->end - region->start);
	seq_printf(m, "mshare-sharers:\t%d\n",
		   atomic_read(&region->nr_sharers));
	seq_printf(m, "mshare-resident-kb:\t%lu\n",
		   msharefs_resident_pages(host) << (PAGE_SHIFT - 10));
	seq_printf(m, "mshare-pgtables-kb:\t%lu\n",
		   mm_pgtables_bytes(host) >> 10);
	seq_printf(m, "mshare-access:\t%s\n",
		   test_bit(MSHARE_REGION_RO, &region->flags) ? "r" : "rw");
	seq_printf(m, "mshare-writers:\t%d\n",
		   atomic_read(&region->nr_writers));
}

static const struct file_operations msharefs_file_operations = {
	.open			= msharefs_open,
	.poll			= msharefs_poll,
	.read_iter		= msharefs_read_iter,
	.write			= msharefs_write,
	.llseek			= default_llseek,
	.unlocked_ioctl		= msharefs_ioctl,
	.compat_ioctl		= msharefs_ioctl,
	.get_unmapped_area	= msharefs_get_unmapped_area,
	.show_fdinfo		= msharefs_show_fdinfo,
	/* A lease would hold up whoever attaches. */
	.setlease		= simple_nosetlease,
};

bool file_is_msharefs(struct file *file)
{
	return file->f_op == &msharefs_file_operations;
}

static int msharefs_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
			    struct iattr *attr)
{
	struct inode *inode = d_inode(dentry);
	int err;

	if (attr->ia_valid & ATTR_SIZE)
		return -EPERM;

	err = setattr_prepare(idmap, dentry, attr);
	if (err)
		return err;

	setattr_copy(idmap, inode, attr);
	mark_inode_dirty(inode);
	if (attr->ia_valid & ATTR_MODE)
		err = posix_acl_chmod(idmap, dentry, inode->i_mode);
	return err;
}

/* The only extended attributes are the ACLs. */
static ssize_t msharefs_listxattr(struct dentry *dentry, char *buf, size_t size)
{
	ssize_t left = size;
	int err;

	err = posix_acl_listxattr(d_inode(dentry), &buf, &left);
	return err ? err : size - left;
}

static const struct inode_operations msharefs_file_inode_operations = {
	.setattr	= msharefs_setattr,
	.getattr	= simple_getattr,
	.listxattr	= msharefs_listxattr,
	.set_acl	= simple_set_acl,
};

/*
 * The root
 *
 * Each name has a number, which is its position in the directory and goes up
 * from name to name. So a listing continues where it stopped, whatever has
 * been created and removed meanwhile.
 */

static struct mshare_limits *msharefs_limits(struct super_block *sb)
{
	return sb->s_fs_info;
}

/* Positions 0 and 1 are for "." and "..". */
#define MSHAREFS_NUMBERS	XA_LIMIT(2, INT_MAX)

/* Reserve a number for @inode, so that msharefs_list() cannot fail. */
static int msharefs_reserve_number(struct inode *inode)
{
	struct mshare_limits *limits = msharefs_limits(inode->i_sb);
	int err;

	err = xa_alloc_cyclic(&limits->names, &msharefs_region(inode)->number,
			      NULL, MSHAREFS_NUMBERS, &limits->next_number,
			      GFP_KERNEL_ACCOUNT);
	return min(err, 0);
}

/* List @inode: it has its name now. The root is locked. */
void msharefs_list(struct inode *inode)
{
	xa_store(&msharefs_limits(inode->i_sb)->names,
		 msharefs_region(inode)->number, inode, GFP_NOWAIT);
}

/* Called when the name goes, or when the inode goes without ever having one. */
static void msharefs_unlist(struct inode *inode)
{
	u32 number = xchg(&msharefs_region(inode)->number, 0);

	if (number)
		xa_erase(&msharefs_limits(inode->i_sb)->names, number);
}

/*
 * Find the next name from @pos on and copy it to @name, of NAME_MAX + 1 bytes.
 * The lock keeps the inode, which is unlisted before it goes.
 */
static bool msharefs_next_name(struct super_block *sb, loff_t *pos, char *name,
			       u64 *ino)
{
	struct xarray *names = &msharefs_limits(sb)->names;
	unsigned long number = *pos;
	struct inode *inode;

	xa_lock(names);
	inode = xa_find(names, &number, INT_MAX, XA_PRESENT);
	if (inode) {
		strscpy(name, msharefs_region(inode)->name, NAME_MAX + 1);
		*ino = inode->i_ino;
		*pos = number;
	}
	xa_unlock(names);

	return inode;
}

/*
 * The root is locked by the caller. Unlock it while entries are written to the
 * memory of the reader: a page of it may be read from a file system that never
 * answers, and others would wait for the root until then.
 */
static int msharefs_iterate(struct file *file, struct dir_context *ctx)
{
	struct inode *dir = file_inode(file);
	char name[NAME_MAX + 1];
	u64 ino;

	inode_unlock_shared(dir);
	if (!dir_emit_dots(file, ctx))
		goto out;
	while (ctx->pos <= INT_MAX &&
	       msharefs_next_name(dir->i_sb, &ctx->pos, name, &ino)) {
		if (!dir_emit(ctx, name, strlen(name), ino, DT_REG))
			break;
		ctx->pos++;
	}
out:
	inode_lock_shared(dir);

	return 0;
}

static const struct file_operations msharefs_dir_operations = {
	.read		= generic_read_dir,
	.iterate_shared	= msharefs_iterate,
	.llseek		= generic_file_llseek,
	.fsync		= noop_fsync,
};

/* Without this, open(O_CREAT) would fail with EACCES, which misleads. */
static int msharefs_create(struct mnt_idmap *idmap, struct inode *dir,
			   struct dentry *dentry, umode_t mode, bool excl)
{
	return -EPERM;
}

static void msharefs_drop_name(struct mshare_region *region)
{
	if (test_and_clear_bit(MSHARE_REGION_NAMED, &region->flags))
		mshare_drop(region);
}

int msharefs_unlink(struct inode *dir, struct dentry *dentry)
{
	struct mshare_region *region = msharefs_region(d_inode(dentry));
	int err;

	/* The caller's dentry keeps the inode, which keeps @region. */
	msharefs_unlist(d_inode(dentry));
	err = simple_unlink(dir, dentry);
	msharefs_drop_name(region);
	wake_up_interruptible(&region->poll);
	return err;
}

static const struct inode_operations msharefs_dir_inode_operations = {
	.create		= msharefs_create,
	.lookup		= simple_lookup,
	.unlink		= msharefs_unlink,
	.setattr	= msharefs_setattr,
	.getattr	= simple_getattr,
	.listxattr	= msharefs_listxattr,
	.set_acl	= simple_set_acl,
};

/**
 * msharefs_new_inode - an inode for a region
 * @dir: the root of msharefs
 * @mode: permissions, before the umask or the default ACL of @dir is applied
 * @region: held by the caller; the inode gets a hold of its own, for its name
 *
 * May sleep. Return: the inode, -ENOSPC if nr_regions= is reached, or -ENOMEM.
 */
struct inode *msharefs_new_inode(struct inode *dir, umode_t mode,
				 struct mshare_region *region)
{
	struct inode *inode = new_inode(dir->i_sb);

	if (!inode)
		return ERR_PTR(-ENOMEM);

	inode->i_ino = get_next_ino();
	inode_init_owner(&nop_mnt_idmap, inode, NULL, S_IFREG | mode);
	simple_inode_init_ts(inode);
	inode->i_op = &msharefs_file_inode_operations;
	inode->i_fop = &msharefs_file_operations;
	inode->i_size = sizeof(struct mshare_info);
	if (simple_acl_create(dir, inode)) {
		iput(inode);
		return ERR_PTR(-ENOMEM);
	}
	if (!mshare_limits_enter(msharefs_limits(dir->i_sb), region)) {
		iput(inode);
		return ERR_PTR(-ENOSPC);
	}

	mmgrab(mshare_region_mm(region));
	WARN_ON_ONCE(!mshare_hold(region));
	set_bit(MSHARE_REGION_NAMED, &region->flags);
	inode->i_private = region;
	if (msharefs_reserve_number(inode)) {
		iput(inode);
		return ERR_PTR(-ENOMEM);
	}
	return inode;
}

static void msharefs_evict_inode(struct inode *inode)
{
	struct mshare_region *region = msharefs_region(inode);

	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	if (!region)
		return;

	/* umount() does not unlink the remaining names. */
	msharefs_unlist(inode);
	msharefs_drop_name(region);
	mmdrop(mshare_region_mm(region));
}

static int msharefs_statfs(struct dentry *dentry, struct kstatfs *buf)
{
	struct mshare_limits *limits = msharefs_limits(dentry->d_sb);
	unsigned long max_pages = READ_ONCE(limits->max_pages);
	unsigned int max_regions = READ_ONCE(limits->max_regions);
	u64 used = percpu_counter_sum_positive(&limits->used);
	unsigned int nr = atomic_read(&limits->nr_regions);
	int err;

	err = simple_statfs(dentry, buf);
	if (err)
		return err;

	/* As in tmpfs: report nothing if there is no limit. */
	if (max_pages) {
		buf->f_blocks = max_pages;
		buf->f_bfree = max_pages - min_t(u64, used, max_pages);
		buf->f_bavail = buf->f_bfree;
	}
	if (max_regions) {
		buf->f_files = max_regions;
		buf->f_ffree = max_regions - min(nr, max_regions);
	}

	return 0;
}

static int msharefs_show_options(struct seq_file *m, struct dentry *root)
{
	struct mshare_limits *limits = msharefs_limits(root->d_sb);
	struct inode *inode = d_inode(root);
	umode_t mode = inode->i_mode & 07777;

	if (!uid_eq(inode->i_uid, GLOBAL_ROOT_UID))
		seq_printf(m, ",uid=%u",
			   from_kuid_munged(&init_user_ns, inode->i_uid));
	if (!gid_eq(inode->i_gid, GLOBAL_ROOT_GID))
		seq_printf(m, ",gid=%u",
			   from_kgid_munged(&init_user_ns, inode->i_gid));
	if (mode != MSHAREFS_DEFAULT_MODE)
		seq_printf(m, ",mode=%03o", mode);
	if (limits->max_pages != mshare_default_pages())
		seq_printf(m, ",size=%luk",
			   limits->max_pages << (PAGE_SHIFT - 10));
	if (limits->max_regions != mshare_default_regions())
		seq_printf(m, ",nr_regions=%u", limits->max_regions);

	return 0;
}

static const struct super_operations msharefs_super_operations = {
	.statfs		= msharefs_statfs,
	.drop_inode	= generic_delete_inode,
	.evict_inode	= msharefs_evict_inode,
	.show_options	= msharefs_show_options,
};

/*
 * Mounting
 */

/*
 * Parse a number with an optional suffix. Not memparse(), which takes numbers
 * modulo 2^64. Return: what follows the number, or NULL if there is none.
 */
static const char *msharefs_parse_number(const char *text, u64 *number)
{
	static const char suffixes[] = "kmgtpe";
	unsigned int digits = strspn(text, "0123456789");
	const char *rest, *suffix;
	unsigned int shift = 0;

	/* 18 digits cannot overflow. */
	if (!digits || digits > 18)
		return NULL;
	for (*number = 0, rest = text; rest < text + digits; rest++)
		*number = *number * 10 + *rest - '0';

	suffix = *rest ? strchr(suffixes, tolower(*rest)) : NULL;
	if (suffix) {
		shift = 10 * (suffix - suffixes + 1);
		rest++;
	}
	if (*number > LONG_MAX >> shift)
		return NULL;
	*number <<= shift;

	return rest;
}

/* Parse "10g" or "50%" into pages. */
static bool msharefs_parse_size(const char *text, unsigned long *pages)
{
	const char *rest;
	u64 size;

	rest = msharefs_parse_number(text, &size);
	if (rest && !strcmp(rest, "%") && size <= 100) {
		*pages = mult_frac(totalram_pages(), size, 100);
		return true;
	}
	if (!rest || *rest)
		return false;

	*pages = DIV_ROUND_UP(size, PAGE_SIZE);
	return true;
}

static int msharefs_parse_param(struct fs_context *fc,
				struct fs_parameter *param)
{
	struct msharefs_options *opts = fc->fs_private;
	struct fs_parse_result result;
	const char *rest;
	int opt;
	u64 nr;

	opt = fs_parse(fc, msharefs_parameters, param, &result);
	if (opt < 0)
		return opt;

	switch (opt) {
	case OPT_UID:
		opts->uid = result.uid;
		opts->has_uid = true;
		break;
	case OPT_GID:
		opts->gid = result.gid;
		opts->has_gid = true;
		break;
	case OPT_MODE:
		if (result.uint_32 & ~07777)
			return invalf(fc, "msharefs: mode %o is not a mode",
				      result.uint_32);
		opts->mode = result.uint_32;
		opts->has_mode = true;
		break;
	case OPT_NR_REGIONS:
		rest = msharefs_parse_number(param->string, &nr);
		if (!rest || *rest || nr > INT_MAX)
			return invalf(fc, "msharefs: nr_regions=%s is not a number from 0 to %d",
				      param->string, INT_MAX);
		opts->max_regions = nr;
		opts->has_regions = true;
		break;
	case OPT_SIZE:
		if (!msharefs_parse_size(param->string, &opts->max_pages))
			return invalf(fc, "msharefs: size=%s is neither like 10g nor like 50%%",
				      param->string);
		opts->has_pages = true;
		break;
	}

	return 0;
}

/* A limit cannot be less than what is in use. The root is locked. */
static int msharefs_apply_limits(struct fs_context *fc,
				 struct mshare_limits *limits,
				 const struct msharefs_options *opts)
{
	if (opts->has_pages && opts->max_pages &&
	    percpu_counter_compare(&limits->used, opts->max_pages) > 0)
		return invalf(fc, "msharefs: more than size=%luk is in use",
			      opts->max_pages << (PAGE_SHIFT - 10));
	if (opts->has_regions && opts->max_regions &&
	    atomic_read(&limits->nr_regions) > opts->max_regions)
		return invalf(fc, "msharefs: there are more than nr_regions=%u regions",
			      opts->max_regions);

	if (opts->has_pages)
		WRITE_ONCE(limits->max_pages, opts->max_pages);
	if (opts->has_regions)
		WRITE_ONCE(limits->max_regions, opts->max_regions);

	return 0;
}

/* For the first mount, later mounts, and remounts. */
static int msharefs_apply_options(struct fs_context *fc)
{
	const struct msharefs_options *opts = fc->fs_private;
	struct super_block *sb = fc->root->d_sb;
	struct inode *root = d_inode(sb->s_root);
	int err;

	inode_lock(root);
	err = msharefs_apply_limits(fc, msharefs_limits(sb), opts);
	if (err)
		goto out;
	if (opts->has_uid)
		root->i_uid = opts->uid;
	if (opts->has_gid)
		root->i_gid = opts->gid;
	if (opts->has_mode) {
		root->i_mode = S_IFDIR | opts->mode;
		/* As chmod() does: an ACL must agree with the mode. */
		err = posix_acl_chmod(&nop_mnt_idmap, sb->s_root, root->i_mode);
	}
	if (opts->has_uid || opts->has_gid || opts->has_mode)
		inode_set_ctime_current(root);
out:
	inode_unlock(root);

	return err;
}

static int msharefs_fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct inode *root;

	sb->s_maxbytes = MAX_LFS_FILESIZE;
	sb->s_blocksize = PAGE_SIZE;
	sb->s_blocksize_bits = PAGE_SHIFT;
	sb->s_magic = MSHAREFS_MAGIC;
	sb->s_op = &msharefs_super_operations;
	sb->s_iflags |= SB_I_NOEXEC | SB_I_NODEV;
	sb->s_flags |= SB_POSIXACL;
	sb->s_time_gran = 1;
	sb->s_fs_info = mshare_limits_alloc();
	if (!sb->s_fs_info)
		return -ENOMEM;

	root = new_inode(sb);
	if (!root)
		return -ENOMEM;

	root->i_ino = get_next_ino();
	root->i_mode = S_IFDIR | MSHAREFS_DEFAULT_MODE;
	simple_inode_init_ts(root);
	root->i_op = &msharefs_dir_inode_operations;
	root->i_fop = &msharefs_dir_operations;
	/* There is no ACL yet, and listxattr() must not list one. */
	cache_no_acl(root);
	set_nlink(root, 2);

	sb->s_root = d_make_root(root);
	return sb->s_root ? 0 : -ENOMEM;
}

static int msharefs_get_tree(struct fs_context *fc)
{
	int err = get_tree_single(fc, msharefs_fill_super);

	if (err)
		return err;

	err = msharefs_apply_options(fc);
	if (err)
		fc_drop_locked(fc);

	return err;
}

static int msharefs_reconfigure(struct fs_context *fc)
{
	return msharefs_apply_options(fc);
}

static void msharefs_free_fc(struct fs_context *fc)
{
	kfree(fc->fs_private);
}

static const struct fs_context_operations msharefs_context_operations = {
	.free		= msharefs_free_fc,
	.parse_param	= msharefs_parse_param,
	.get_tree	= msharefs_get_tree,
	.reconfigure	= msharefs_reconfigure,
};

static int msharefs_init_fs_context(struct fs_context *fc)
{
	struct msharefs_options *opts = kzalloc(sizeof(*opts), GFP_KERNEL);

	if (!opts)
		return -ENOMEM;

	fc->fs_private = opts;
	fc->ops = &msharefs_context_operations;
	return 0;
}

/*
 * A worker frees the regions, after a grace period. Wait for both, so that all
 * regions are gone when umount() returns.
 */
static void msharefs_kill_sb(struct super_block *sb)
{
	struct mshare_limits *limits = msharefs_limits(sb);

	kill_litter_super(sb);
	rcu_barrier();
	flush_workqueue(mshare_wq);
	mshare_limits_put(limits);
}

static struct file_system_type msharefs_type = {
	.name			= "msharefs",
	.init_fs_context	= msharefs_init_fs_context,
	.parameters		= msharefs_parameters,
	.kill_sb		= msharefs_kill_sb,
};

static int __init msharefs_init(void)
{
	int err;

	err = sysfs_create_mount_point(fs_kobj, "mshare");
	if (err)
		return err;

	err = register_filesystem(&msharefs_type);
	if (err)
		sysfs_remove_mount_point(fs_kobj, "mshare");

	return err;
}
fs_initcall(msharefs_init);
