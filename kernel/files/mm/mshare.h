/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mshare's own structures. See Documentation/mm/mshare.rst for their lifetimes
 * and the order of locks.
 */
#ifndef _MM_MSHARE_H
#define _MM_MSHARE_H

#include <linux/mshare.h>

#ifdef CONFIG_MSHARE

#include <linux/cpumask.h>
#include <linux/list.h>
#include <linux/percpu-refcount.h>
#include <linux/percpu_counter.h>
#include <linux/rculist.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <asm/mshare.h>

struct file;
struct inode;

/* Per process. More windows would need a better look-up than a list. */
#define MSHARE_MAX_WINDOWS	64

/* Bits of mshare_region.flags */
enum {
	MSHARE_REGION_RO,	/* created O_RDONLY: can never be written to */
	MSHARE_REGION_NAMED,	/* has a name, or an inode that will get one */
	MSHARE_REGION_READY,	/* its creation has succeeded */
	MSHARE_REGION_FAILED,	/* its creation has failed */
	MSHARE_REGION_DYING,	/* teardown: the tables are no longer pinned */
};

/*
 * There are three counts. @holders counts the name and the windows: without
 * them the contents are freed, even if a file is open. @pin counts faults and
 * system calls in progress: the contents stay until these are over. The host's
 * mm_count, also raised by the inode, keeps this struct and the mm_struct.
 *
 * The fields that each fault reads come first, in cache lines that attaching
 * and detaching do not write to.
 */
struct mshare_region {
	struct mm_struct *mm;		/* the host; one mm_users is ours */
	unsigned long start;
	unsigned long end;
	unsigned long flags;
	struct percpu_ref pin;

	refcount_t holders ____cacheline_aligned_in_smp;
	atomic_t nr_sharers;		/* raised before, lowered after */
	atomic_t nr_writers;		/* those with a writable window */
	spinlock_t lock;		/* for writing what follows; a leaf */
	struct list_head sharers;	/* mshare_attach; RCU readers */
	struct list_head lockers;	/* users charged for locked memory */
	atomic_t changes;		/* of nr_sharers, without the lock */
	int told;			/* the changes that poll() reports */
	unsigned long told_at;		/* when told was set, in jiffies */
	struct delayed_work tell;	/* sets told again */
	wait_queue_head_t poll;
	spinlock_t count_lock;		/* a leaf */
	s64 counted;			/* pages counted in limits */
	s64 tables;			/* linked tables that count */
	struct mshare_limits *limits;	/* of its file system; NULL at first */
	u32 number;			/* in limits->names; 0: none */

	/* CPUs that may have TLB entries of the region. */
	struct cpumask cpus ____cacheline_aligned_in_smp;

	struct work_struct teardown;
	struct rcu_head rcu;
#ifdef CONFIG_MSHARE_DEBUG
	struct list_head all;
	atomic64_t flushed;		/* number of the last finished flush */
#endif
	char name[NAME_MAX + 1];
};

/* Limits and names of an msharefs. May outlive the super block. */
struct mshare_limits {
	refcount_t users;		/* super block, regions, shmem objects */
	struct percpu_counter used;	/* pages */
	unsigned long max_pages;	/* 0: no limit */
	atomic_t nr_regions;
	unsigned int max_regions;	/* 0: no limit */
	struct xarray names;		/* inodes in the order of creation */
	u32 next_number;
};

/* One window of one mm. */
struct mshare_attach {
	struct mm_struct *mm;		/* mmgrab()ed */
	struct mshare_region *region;	/* held by us, see mshare_hold() */
	unsigned long start;
	unsigned long end;
	bool writable;
	bool linked;			/* the mm's entries are set */
	struct hlist_node mm_node;	/* mm->mshare_attached */
	struct list_head region_node;	/* region->sharers */
	struct rcu_work free;
};

/*
 * Where a region fills all that a P4D entry spans, the P4D entry of a sharer
 * points at the host's PUD table. Elsewhere PUD entries of a sharer, in a table
 * of its own, point at the host's PMD tables. This depends on the region's range
 * only, so it never changes.
 */
static inline bool mshare_in_whole_unit(const struct mshare_region *region,
					unsigned long addr)
{
	unsigned long unit = addr & P4D_MASK;

	return unit >= region->start && unit < region->end &&
	       region->end - unit >= P4D_SIZE;
}

/* How much the entry at @addr spans. @addr is where such a span begins. */
static inline unsigned long mshare_span(const struct mshare_region *region,
					unsigned long addr)
{
	return mshare_in_whole_unit(region, addr) ? P4D_SIZE : PUD_SIZE;
}

/* Does @mm have a window of @region, or is it about to? */
static inline bool mshare_mm_shares(struct mm_struct *mm,
				    struct mshare_region *region)
{
	struct mshare_attach *att;
	bool shares = false;

	rcu_read_lock();
	hlist_for_each_entry_rcu(att, &mm->mshare_attached, mm_node) {
		if (att->region == region) {
			shares = true;
			break;
		}
	}
	rcu_read_unlock();

	return shares;
}

/* The mappings that a donor moves into its new region. */
struct mshare_donation {
	int nr;				/* VMAs */
	unsigned long pages;
	unsigned long locked;		/* pages, charged to the donor's user */
	struct vm_area_struct **old;	/* the donor's */
	pud_t **puds;			/* its PUD tables; see mshare_pud_slot() */
};

/* The index of the PUD table for @addr, those that the region fills or not. */
static inline unsigned long mshare_pud_slot(const struct mshare_region *region,
					    unsigned long addr)
{
	return (addr >> P4D_SHIFT) - (region->start >> P4D_SHIFT);
}

/* The entry of @mm for @addr. The tables above it exist. */
static inline p4d_t *mshare_p4d_offset(struct mm_struct *mm, unsigned long addr)
{
	return p4d_offset(pgd_offset(mm, addr), addr);
}

static inline pud_t *mshare_pud_offset(struct mm_struct *mm, unsigned long addr)
{
	return pud_offset(mshare_p4d_offset(mm, addr), addr);
}

/* mshare.c */
extern struct workqueue_struct *mshare_wq;

struct mshare_region *mshare_region_create(const char *name,
					   unsigned long start,
					   unsigned long end, bool readonly);
int mshare_alloc_host_pmds(struct mshare_region *region,
			   struct mm_struct *donor);
void mshare_free_empty_granules(struct mm_struct *mm, unsigned long range_start,
				unsigned long range_end);
void mshare_sharers_changed(struct mshare_region *region);
bool mshare_hold(struct mshare_region *region);
void mshare_drop(struct mshare_region *region);

/* mshare_window.c */
int mshare_attach(struct mm_struct *mm, struct mshare_region *region,
		  struct file *file, bool writable,
		  struct mshare_donation *donation);
int mshare_detach(struct mm_struct *mm, struct mshare_region *region);
struct mshare_region *mshare_find_window_of(struct mm_struct *mm,
					    const char *name,
					    struct mshare_region *region);

/* mshare_flush.c */
void mshare_enter_cpus(struct mshare_attach *att);

/* mshare_donate.c */
int mshare_donate_check(struct mm_struct *mm, unsigned long start,
			unsigned long end, struct mshare_donation *donation);
int mshare_donate_prepare(struct mm_struct *host, struct mm_struct *mm,
			  unsigned long start, unsigned long end,
			  struct mshare_donation *donation);
int mshare_donate_check_pins(struct mm_struct *mm,
			     struct mshare_donation *donation);
int mshare_donate_adopt(struct mm_struct *host,
			struct mshare_donation *donation);
void mshare_donate_abort(struct mm_struct *host,
			 struct mshare_donation *donation);
void mshare_donate_commit(struct mm_struct *host, struct mm_struct *mm,
			  unsigned long start, unsigned long end,
			  struct mshare_donation *donation);
void mshare_donate_finish(struct mm_struct *host, struct mm_struct *mm,
			  unsigned long start, unsigned long end,
			  struct mshare_donation *donation);

/* mshare_locked.c */
void mshare_free_lockers(struct mshare_region *region);
unsigned long mshare_sum_lockers(struct mshare_region *region);

/* msharefs.c */
struct inode *msharefs_new_inode(struct inode *dir, umode_t mode,
				 struct mshare_region *region);
void msharefs_list(struct inode *inode);
int msharefs_unlink(struct inode *dir, struct dentry *dentry);
struct mshare_region *msharefs_region(struct inode *inode);
bool file_is_msharefs(struct file *file);

/* mshare_limit.c */
unsigned long mshare_default_pages(void);
unsigned int mshare_default_regions(void);
struct mshare_limits *mshare_limits_alloc(void);
void mshare_limits_put(struct mshare_limits *limits);
bool mshare_limits_enter(struct mshare_limits *limits,
			 struct mshare_region *region);
void mshare_limits_leave(struct mshare_region *region);
void mshare_count(struct mshare_region *region, bool exact);

/* A change of fewer pages need not be counted yet. */
#define MSHARE_COUNT_SLACK	16

/*
 * The tables of @region: at least those that entries of sharers point at, which
 * count before they exist.
 */
static inline s64 mshare_table_pages(const struct mshare_region *region)
{
	return max_t(s64, READ_ONCE(region->tables),
		     mm_pgtables_bytes(region->mm) / PAGE_SIZE);
}

static inline s64 mshare_pages_roughly(const struct mshare_region *region)
{
	struct percpu_counter *rss = region->mm->rss_stat;

	return percpu_counter_read(&rss[MM_ANONPAGES]) +
	       percpu_counter_read(&rss[MM_SWAPENTS]);
}

/* So few instructions because it is asked whenever a pin is put. */
static inline bool mshare_count_is_old(const struct mshare_region *region)
{
	return abs(mshare_pages_roughly(region) + mshare_table_pages(region) -
		   READ_ONCE(region->counted)) >= MSHARE_COUNT_SLACK;
}

bool mshare_may_adopt(struct file *file);
unsigned long mshare_adopt_pages(struct file *file);
bool __mshare_may_add_table(struct mm_struct *host);

/* If @mm is a host, may a fault add a page table to it? */
static inline bool mshare_may_add_table(struct mm_struct *mm)
{
	return !mm_is_mshare_host(mm) || __mshare_may_add_table(mm);
}

/* mshare_maps.c */
#ifdef CONFIG_PROC_FS
int mshare_maps_open(struct file *region_file);
#else
static inline int mshare_maps_open(struct file *region_file)
{
	return -ENOTTY;
}
#endif

/* mshare_debug.c */
#ifdef CONFIG_MSHARE_DEBUG
extern bool mshare_gup_fast_ignore_ro;
extern bool mshare_skip_tlb_fanout;
extern bool mshare_skip_table_pin;
extern bool mshare_always_relax;
void mshare_debug_add(struct mshare_region *region);
void mshare_debug_del(struct mshare_region *region);
u64 mshare_debug_begin_flush(void);
void mshare_debug_end_flush(struct mshare_region *region, u64 seq);
#else
#define mshare_gup_fast_ignore_ro	false
#define mshare_skip_tlb_fanout	false
#define mshare_skip_table_pin	false
#define mshare_always_relax	false
static inline void mshare_debug_add(struct mshare_region *region) { }
static inline void mshare_debug_del(struct mshare_region *region) { }
static inline u64 mshare_debug_begin_flush(void) { return 0; }
static inline void mshare_debug_end_flush(struct mshare_region *region,
					  u64 seq)
{
}
#endif

/* mshare_syscall.c */
unsigned long mshare_mmap_file(struct file *file, unsigned long addr,
			       unsigned long len, unsigned long prot,
			       unsigned long flags, unsigned long pgoff);

/* mmap() of a region's file goes to mshare_mmap_file(). */
static inline bool mshare_is_region_file(struct file *file)
{
	return static_branch_unlikely(&mshare_key) && file &&
	       file_is_msharefs(file);
}

bool __mshare_covers(struct mm_struct *mm, unsigned long start,
		     unsigned long end);

/* Does one window of @mm contain the whole range? */
static inline bool mshare_covers(struct mm_struct *mm, unsigned long start,
				 unsigned long end)
{
	return mm_has_mshare_windows(mm) && __mshare_covers(mm, start, end);
}

bool __mshare_pmd_pinned(struct mm_struct *mm, unsigned long addr);

/* Must @mm keep its PMD table at @addr, as entries of sharers point at it? */
static inline bool mshare_pmd_pinned(struct mm_struct *mm, unsigned long addr)
{
	return mm_is_mshare_host(mm) && __mshare_pmd_pinned(mm, addr);
}

/*
 * Fast GUP looks at the leaf entries, which say what the host may do. Only the
 * entry that links the host's table denies writing to a read-only sharer: a P4D
 * entry, or a PUD entry.
 */
static inline bool mshare_p4d_permits(p4d_t p4d, bool write)
{
	return !write || arch_mshare_p4d_writable(p4d) ||
	       mshare_gup_fast_ignore_ro;
}

static inline bool mshare_pud_permits(pud_t pud, bool write)
{
	return !write || arch_mshare_pud_writable(pud) ||
	       mshare_gup_fast_ignore_ro;
}

#else /* !CONFIG_MSHARE */

static inline bool mshare_is_region_file(struct file *file)
{
	return false;
}

static inline unsigned long
mshare_mmap_file(struct file *file, unsigned long addr, unsigned long len,
		 unsigned long prot, unsigned long flags, unsigned long pgoff)
{
	return -EINVAL;
}

static inline bool mshare_covers(struct mm_struct *mm, unsigned long start,
				 unsigned long end)
{
	return false;
}

static inline bool mshare_may_add_table(struct mm_struct *mm)
{
	return true;
}

static inline bool mshare_pmd_pinned(struct mm_struct *mm, unsigned long addr)
{
	return false;
}

/* Without an MMU there need not be such types. */
#ifdef CONFIG_MMU
static inline bool mshare_p4d_permits(p4d_t p4d, bool write)
{
	return true;
}

static inline bool mshare_pud_permits(pud_t pud, bool write)
{
	return true;
}
#endif

#endif /* CONFIG_MSHARE */

#endif /* _MM_MSHARE_H */
