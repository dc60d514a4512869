/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mshare: regions of address space whose page tables exist once.
 *
 * See Documentation/mm/mshare.rst.
 */
#ifndef _LINUX_MSHARE_H
#define _LINUX_MSHARE_H

#include <linux/err.h>
#include <linux/jump_label.h>
#include <linux/mm.h>
#include <linux/sched.h>

struct mshare_region;
struct seq_file;

struct inode;

/* For shmem: blocks of an object that is, or has been, in a region. */
bool __mshare_charge_blocks(struct inode *inode, long pages);
void __mshare_uncharge_blocks(struct inode *inode, long pages);
void __mshare_release_blocks(struct inode *inode);

/* Print a line of /proc/PID/maps. Defined in fs/proc. */
void show_map_vma(struct seq_file *m, struct vm_area_struct *vma);

/* What a system call will do in a window; see mshare_redirect(). */
#define MSHARE_OP_READ_LOCKED	0x1	/* mmap_lock held for read, not write */
#define MSHARE_OP_MODIFY	0x2	/* changes the region: needs O_RDWR */
#define MSHARE_OP_DETACH	0x4	/* detaches a window if it covers it */

#ifdef CONFIG_MSHARE

DECLARE_STATIC_KEY_FALSE(mshare_key);

/* Is @vma the placeholder of a window in a sharer's VMA tree? */
static inline bool vma_is_mshare(const struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_MSHARE;
}

static inline bool mm_is_mshare_host(const struct mm_struct *mm)
{
	return static_branch_unlikely(&mshare_key) && mm->mshare_host;
}

/* Does @mm have any windows? Stable while its mmap_lock is held. */
static inline bool mm_has_mshare_windows(const struct mm_struct *mm)
{
	return static_branch_unlikely(&mshare_key) &&
	       !hlist_empty(&mm->mshare_attached);
}

static inline void mshare_mm_init(struct mm_struct *mm)
{
	mm->mshare_host = NULL;
	INIT_HLIST_HEAD(&mm->mshare_attached);
}

void __mshare_mm_free(struct mm_struct *mm);

static inline void mshare_mm_free(struct mm_struct *mm)
{
	if (static_branch_unlikely(&mshare_key))
		__mshare_mm_free(mm);
}

struct mm_struct *mshare_region_mm(struct mshare_region *region);
const char *mshare_region_name(struct mshare_region *region);
bool mshare_region_holds(struct mshare_region *region, unsigned long start,
			 unsigned long len);
struct mshare_region *__mshare_get(struct mm_struct *mm, unsigned long addr,
				   bool *writable);
void __mshare_put(struct mshare_region *region);

/*
 * The region whose window in @mm holds @addr, or NULL. Takes no lock. The
 * caller must mshare_put() the result, and may use the host mm until then.
 */
static inline struct mshare_region *mshare_get(struct mm_struct *mm,
					       unsigned long addr,
					       bool *writable)
{
	if (!mm_has_mshare_windows(mm))
		return NULL;
	return __mshare_get(mm, addr, writable);
}

static inline void mshare_put(struct mshare_region *region)
{
	if (static_branch_unlikely(&mshare_key) && region)
		__mshare_put(region);
}

struct mm_struct *__mshare_redirect(struct mm_struct *mm, unsigned long start,
				    unsigned long len, unsigned int op,
				    struct mshare_region **regionp);

/*
 * mshare_redirect - find the mm that really owns [@start, @start + @len)
 * @mm: the mm whose mmap_lock the caller holds
 * @start: first byte, tags removed
 * @len: bytes
 * @op: MSHARE_OP_*
 * @regionp: set to the region, for mshare_put(), or to NULL
 *
 * If the range lies in a window of @mm, its mmap_lock is dropped and the host
 * mm is returned with its lock held in the same mode.
 *
 * Return: the mm to work on, locked; or, with no lock held, -EINVAL if the
 * range crosses the border of a window, -EACCES if @op modifies what this
 * sharer may only read, -EINTR on a fatal signal.
 */
static inline struct mm_struct *
mshare_redirect(struct mm_struct *mm, unsigned long start, unsigned long len,
		unsigned int op, struct mshare_region **regionp)
{
	if (mm_has_mshare_windows(mm)) {
		/* So that the caller's variable can be a register. */
		struct mshare_region *region;

		mm = __mshare_redirect(mm, start, len, op, &region);
		*regionp = region;
		return mm;
	}

	*regionp = NULL;
	/* Lets the compiler drop the caller's test on this path. */
	if (IS_ERR(mm))
		__builtin_unreachable();
	return mm;
}

unsigned long mshare_mmap(struct file *file, unsigned long addr,
			  unsigned long len, unsigned long prot,
			  unsigned long flags, unsigned long pgoff);

bool __mshare_overlaps(struct mm_struct *mm, unsigned long start,
		       unsigned long len);

/* Does the range touch a window of @mm? For what windows do not support. */
static inline bool mshare_overlaps(struct mm_struct *mm, unsigned long start,
				   unsigned long len)
{
	return mm_has_mshare_windows(mm) && __mshare_overlaps(mm, start, len);
}

/* Inside a host mm, all under its mmap_lock. */
unsigned long mshare_get_unmapped_area(struct mm_struct *host,
				       unsigned long addr, unsigned long len,
				       unsigned long flags);
int mshare_may_map(struct file *file, unsigned long flags);
bool mshare_vma_ok(struct vm_area_struct *vma);
int mshare_adopt(struct mm_struct *host, struct file *file);

struct vm_area_struct *__mshare_page_vma(struct vm_area_struct *window,
					 unsigned long addr, bool modify);

/* See mshare_numa.c. */
static inline struct vm_area_struct *
mshare_page_vma(struct vm_area_struct *vma, unsigned long addr, bool modify)
{
	return vma && vma_is_mshare(vma) ?
		__mshare_page_vma(vma, addr, modify) : vma;
}

/* @vma is what mshare_page_vma() returned for a VMA of @mm. */
static inline void mshare_page_vma_done(struct mm_struct *mm,
					struct vm_area_struct *vma)
{
	if (!IS_ERR_OR_NULL(vma) && vma->vm_mm != mm)
		mmap_read_unlock(vma->vm_mm);
}

/* Process this much of a region, a huge page, between drops of the lock. */
#define MSHARE_NUMA_PIECE	PMD_SIZE

int mshare_for_pieces(struct vm_area_struct *window,
		      void (*fn)(struct vm_area_struct *vma,
				 unsigned long start, unsigned long end,
				 void *arg), void *arg);

bool __mshare_may_grow(struct mm_struct *host, long pages);

/* If @mm is a host, may it get that many more anonymous pages? */
static inline bool mshare_may_grow(struct mm_struct *mm, long pages)
{
	return !mm_is_mshare_host(mm) || __mshare_may_grow(mm, pages);
}

/* Hooks of the core. */
bool __mshare_tables_pinned(struct mm_struct *mm);

/* Must @mm keep the tables that P4D or PUD entries of sharers point at? */
static inline bool mshare_tables_pinned(struct mm_struct *mm)
{
	return mm_is_mshare_host(mm) && __mshare_tables_pinned(mm);
}

bool mshare_vma_writable(struct vm_area_struct *vma);
struct mm_struct *mshare_vma_host(struct vm_area_struct *vma);
void mshare_unlink_window(struct vm_area_struct *vma);
int mshare_fork(struct vm_area_struct *dst, struct vm_area_struct *src);

/*
 * All TLB flushes of a host mm end here, by way of flush_tlb_mm_range(). Same
 * arguments, same context: may be called under page-table locks.
 */
void mshare_flush_tlb(struct mm_struct *host, unsigned long start,
		      unsigned long end, unsigned int stride_shift,
		      bool freed_tables);

/* Batched flushes: for each change, and at the end of the batch. */
void mshare_batch_add(struct mm_struct *host, struct cpumask *cpus,
		      struct mshare_region **region, bool first);
bool mshare_batch_flush(const struct cpumask *cpus,
			struct mshare_region *region);

void __mshare_switch_in(struct mm_struct *mm);

/* A CPU is about to load @mm. Interrupts are off. */
static inline void mshare_switch_in(struct mm_struct *mm)
{
	if (mm_has_mshare_windows(mm))
		__mshare_switch_in(mm);
}

/* For /proc/PID/smaps. */
int mshare_nr_sharers(struct mm_struct *host);

unsigned long __mshare_oom_points(struct mm_struct *mm);

/* For the OOM killer: the part of @mm in the memory of regions, in pages. */
static inline unsigned long mshare_oom_points(struct mm_struct *mm)
{
	return mm_has_mshare_windows(mm) ? __mshare_oom_points(mm) : 0;
}

/* For tracing. */
int mshare_nr_cpus(struct mshare_region *region);

#else /* !CONFIG_MSHARE */

static inline bool vma_is_mshare(const struct vm_area_struct *vma)
{
	return false;
}

static inline bool mm_is_mshare_host(const struct mm_struct *mm)
{
	return false;
}

static inline bool mm_has_mshare_windows(const struct mm_struct *mm)
{
	return false;
}

static inline void mshare_mm_init(struct mm_struct *mm) { }
static inline void mshare_mm_free(struct mm_struct *mm) { }

static inline struct mm_struct *mshare_region_mm(struct mshare_region *region)
{
	return NULL;
}

static inline struct mshare_region *mshare_get(struct mm_struct *mm,
					       unsigned long addr,
					       bool *writable)
{
	return NULL;
}

static inline const char *mshare_region_name(struct mshare_region *region)
{
	return "";
}

static inline void mshare_put(struct mshare_region *region) { }

static inline bool mshare_region_holds(struct mshare_region *region,
				       unsigned long start, unsigned long len)
{
	return false;
}

static inline struct mm_struct *
mshare_redirect(struct mm_struct *mm, unsigned long start, unsigned long len,
		unsigned int op, struct mshare_region **regionp)
{
	*regionp = NULL;
	return mm;
}

static inline unsigned long
mshare_mmap(struct file *file, unsigned long addr, unsigned long len,
	    unsigned long prot, unsigned long flags, unsigned long pgoff)
{
	return -EINVAL;
}

static inline bool mshare_overlaps(struct mm_struct *mm, unsigned long start,
				   unsigned long len)
{
	return false;
}

static inline unsigned long
mshare_get_unmapped_area(struct mm_struct *host, unsigned long addr,
			 unsigned long len, unsigned long flags)
{
	return -EINVAL;
}

static inline int mshare_may_map(struct file *file, unsigned long flags)
{
	return 0;
}

static inline bool mshare_vma_ok(struct vm_area_struct *vma)
{
	return true;
}

static inline int mshare_adopt(struct mm_struct *host, struct file *file)
{
	return 0;
}

static inline bool mshare_may_grow(struct mm_struct *mm, long pages)
{
	return true;
}

static inline struct vm_area_struct *
mshare_page_vma(struct vm_area_struct *vma, unsigned long addr, bool modify)
{
	return vma;
}

static inline void mshare_page_vma_done(struct mm_struct *mm,
					struct vm_area_struct *vma)
{
}

#define MSHARE_NUMA_PIECE	PMD_SIZE

static inline int
mshare_for_pieces(struct vm_area_struct *window,
		  void (*fn)(struct vm_area_struct *vma, unsigned long start,
			     unsigned long end, void *arg), void *arg)
{
	return 0;
}

static inline bool mshare_tables_pinned(struct mm_struct *mm)
{
	return false;
}

static inline bool mshare_vma_writable(struct vm_area_struct *vma)
{
	return false;
}

static inline struct mm_struct *mshare_vma_host(struct vm_area_struct *vma)
{
	return NULL;
}

static inline void mshare_unlink_window(struct vm_area_struct *vma) { }
static inline void mshare_switch_in(struct mm_struct *mm) { }

static inline void mshare_flush_tlb(struct mm_struct *host, unsigned long start,
				    unsigned long end,
				    unsigned int stride_shift,
				    bool freed_tables)
{
}

static inline int mshare_nr_sharers(struct mm_struct *host)
{
	return 0;
}

static inline unsigned long mshare_oom_points(struct mm_struct *mm)
{
	return 0;
}

static inline int mshare_fork(struct vm_area_struct *dst,
			      struct vm_area_struct *src)
{
	return 0;
}

#endif /* CONFIG_MSHARE */

#endif /* _LINUX_MSHARE_H */
