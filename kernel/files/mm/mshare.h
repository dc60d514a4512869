/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mshare's own structures. See Documentation/mm/mshare.rst for life times and
 * the order of locks.
 */
#ifndef _MM_MSHARE_H
#define _MM_MSHARE_H

#include <linux/cpumask.h>
#include <linux/list.h>
#include <linux/mshare.h>
#include <linux/percpu_counter.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#ifdef CONFIG_MSHARE
#include <asm/mshare.h>
#endif

struct file;
struct inode;

/* Bits of mshare_region.flags */
enum {
	MSHARE_REGION_RO,	/* created O_RDONLY: for everyone, for good */
	MSHARE_REGION_READY,	/* its creation has succeeded */
	MSHARE_REGION_DYING,	/* teardown: the tables are no longer pinned */
};

struct mshare_region {
	struct mm_struct *mm;		/* the host; one mm_users is ours */
	unsigned long start;
	unsigned long end;
	unsigned long flags;
	refcount_t users;		/* the inode, and short pins */
	atomic_t nr_sharers;		/* raised before, lowered after */
	atomic_t sharers_seq;		/* how often it has changed */
	wait_queue_head_t poll;
	struct cpumask cpus;		/* may have entries in their TLBs */
	spinlock_t lock;		/* writers of sharers; a leaf */
	struct list_head sharers;	/* mshare_attach; RCU readers */
	struct list_head lockers;	/* whose limit locked memory counts against */
	struct mshare_limits *limits;	/* of its file system; NULL at first */
	s64 counted;			/* anonymous pages that these know of */
	spinlock_t count_lock;		/* a leaf */
	struct work_struct teardown;
	struct rcu_head rcu;
#ifdef CONFIG_MSHARE_DEBUG
	struct list_head all;
#endif
	char name[NAME_MAX + 1];
};

/* What all regions of an msharefs may have; outlives its super block. */
struct mshare_limits {
	refcount_t users;		/* super block, regions, shmem objects */
	struct percpu_counter used;	/* pages */
	unsigned long max_pages;	/* 0: no limit */
	atomic_t nr_regions;
	unsigned int max_regions;	/* 0: no limit */
};

/* One window of one mm. */
struct mshare_attach {
	struct mm_struct *mm;		/* mmgrab()ed */
	struct mshare_region *region;	/* held by the window's vm_file */
	unsigned long start;
	unsigned long end;
	bool writable;
	bool linked;			/* the mm's entries are set */
	struct hlist_node mm_node;	/* mm->mshare_attached */
	struct list_head region_node;	/* region->sharers */
	struct rcu_work free;
};

/* The mappings of a region's maker on their way into the region. */
struct mshare_donation {
	int nr;				/* VMAs */
	unsigned long pages;
	unsigned long locked;		/* pages, charged to the maker */
	struct vm_area_struct **old;	/* the donor's */
	pud_t **puds;			/* its PUD tables, or NULL, by granule */
};

extern struct workqueue_struct *mshare_wq;

struct mshare_region *mshare_region_create(const char *name,
					   unsigned long start,
					   unsigned long end, bool readonly);
int mshare_attach(struct mm_struct *mm, struct mshare_region *region,
		  struct file *file, bool writable,
		  struct mshare_donation *donation);
int mshare_detach(struct mm_struct *mm, struct mshare_region *region);
struct mshare_region *mshare_find_window_of(struct mm_struct *mm,
					    const char *name,
					    struct mshare_region *region);

/* mshare_donate.c */
int mshare_donate_check(struct mm_struct *mm, unsigned long start,
			unsigned long end, struct mshare_donation *donation);
int mshare_donate_prepare(struct mm_struct *host, struct mm_struct *mm,
			  unsigned long start, unsigned long end,
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
unsigned long mshare_adopt_pages(struct file *file);

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
#else
#define mshare_gup_fast_ignore_ro	false
#define mshare_skip_tlb_fanout	false
#define mshare_skip_table_pin	false
#define mshare_always_relax	false
static inline void mshare_debug_add(struct mshare_region *region) { }
static inline void mshare_debug_del(struct mshare_region *region) { }
#endif

/*
 * Fast GUP goes by the leaf entries, which say what the host may do. A
 * read-only sharer's own entry denies writing; nobody else's denies anything.
 */
static inline bool mshare_p4d_permits(p4d_t p4d, bool write)
{
#ifdef CONFIG_MSHARE
	return !write || arch_mshare_p4d_writable(p4d) ||
	       mshare_gup_fast_ignore_ro;
#else
	return true;
#endif
}

#endif /* _MM_MSHARE_H */
