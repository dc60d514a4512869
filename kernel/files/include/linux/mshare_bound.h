/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mshare: bound the work that is done with a region's locks held.
 *
 * A region may be very large, and each sharer may ask for work on all of it.
 * Such work is done in pieces. Between two pieces, waiting tasks can take the
 * host's mmap_lock, and everything that was found under it must be looked up
 * again. All this applies to hosts only, not to a process's own mm.
 */
#ifndef _LINUX_MSHARE_BOUND_H
#define _LINUX_MSHARE_BOUND_H

#include <linux/mmap_lock.h>
#include <linux/mshare.h>

/*
 * Sizes of pieces, by what is done to them: in pages for work that may fault in
 * each page or looks up each page; otherwise in filled entries of PMD tables,
 * of 2 MiB each, as smaller pieces would split huge pages.
 */
#define MSHARE_PIECE_FAULT	16
#define MSHARE_PIECE_LOOKUP	128
#define MSHARE_PIECE_WALK	1
#define MSHARE_PIECE_ZAP	1
#define MSHARE_PIECE_PROT	1
#define MSHARE_PIECE_COLLAPSE	16

/* Larger mappings are not moved, as a move cannot be done in pieces. */
#define MSHARE_MOVE_MAX		(64UL << 20)

struct vma_iterator;

#ifdef CONFIG_MSHARE

unsigned long __mshare_piece_end(struct mm_struct *host, unsigned long addr,
				 unsigned long end, unsigned int entries);
bool __mshare_wanted(struct mm_struct *host);
int mshare_read_lock_host(struct mm_struct *host);
int mshare_relax(struct mm_struct *host, bool write);
void mshare_give_way(struct mm_struct *host);
struct vm_area_struct *mshare_find_again(struct vma_iterator *vmi,
					 struct mm_struct *host,
					 unsigned long start,
					 unsigned long end,
					 struct vm_area_struct **prev);
int mshare_munmap(struct mm_struct *host, unsigned long start, size_t len);
int mshare_make_room(struct mm_struct *host, struct file *file,
		     unsigned long addr, unsigned long len,
		     vm_flags_t vm_flags);

/* Does one PMD entry hold the whole range? Then it is one piece. */
static inline bool mshare_in_pmd_entry(unsigned long addr, unsigned long end)
{
	return ((addr ^ (end - 1)) & PMD_MASK) == 0;
}

/*
 * The end of the piece that begins at @addr, at most @end. The range lies in a
 * VMA of @mm, or @mm is locked for writing.
 */
static inline unsigned long mshare_piece_end(struct mm_struct *mm,
					     unsigned long addr,
					     unsigned long end,
					     unsigned int entries)
{
	return mm_is_mshare_host(mm) && !mshare_in_pmd_entry(addr, end) ?
	       __mshare_piece_end(mm, addr, end, entries) : end;
}

/* The same for work that may fault in each page. */
static inline unsigned long mshare_fault_end(struct mm_struct *mm,
					     unsigned long addr,
					     unsigned long end)
{
	return mm_is_mshare_host(mm) ?
	       min(end, addr + MSHARE_PIECE_FAULT * PAGE_SIZE) : end;
}

/* The same for work that costs something even where there is no entry. */
static inline unsigned long mshare_dense_end(struct mm_struct *mm,
					     unsigned long addr,
					     unsigned long end)
{
	return mm_is_mshare_host(mm) ?
	       min(end, addr + MSHARE_PIECE_LOOKUP * PAGE_SIZE) : end;
}

/*
 * Should the caller drop @mm's mmap_lock for a moment, by mshare_relax()? Only
 * ever true for a host.
 */
static inline bool mshare_wanted(struct mm_struct *mm)
{
	return mm_is_mshare_host(mm) && __mshare_wanted(mm);
}

/* Lock any mm for reading; -EINTR only for a host. */
static inline int mshare_read_lock(struct mm_struct *mm)
{
	if (mm_is_mshare_host(mm))
		return mshare_read_lock_host(mm);
	mmap_read_lock(mm);
	return 0;
}

bool mshare_may_lock(unsigned long pages);
int __mshare_charge_locked(struct mm_struct *host, unsigned long pages,
			   bool limited);
void __mshare_uncharge_locked(struct mm_struct *host, unsigned long pages);

/*
 * If @mm is a host, charge @pages that are about to be locked to the caller's
 * user. Return: 0, or -ENOMEM if that exceeds the limit.
 */
static inline int mshare_charge_locked(struct mm_struct *mm,
				       unsigned long pages)
{
	return mm_is_mshare_host(mm) ? __mshare_charge_locked(mm, pages, true) :
				       0;
}

/* The same for pages that have been charged before. Must not fail. */
static inline void mshare_recharge_locked(struct mm_struct *mm,
					  unsigned long pages)
{
	if (mm_is_mshare_host(mm))
		__mshare_charge_locked(mm, pages, false);
}

/* Uncharge pages that were unlocked, unmapped, or not locked after all. */
static inline void mshare_uncharge_locked(struct mm_struct *mm,
					  unsigned long pages)
{
	if (mm_is_mshare_host(mm) && pages)
		__mshare_uncharge_locked(mm, pages);
}

#else /* !CONFIG_MSHARE */

static inline unsigned long mshare_piece_end(struct mm_struct *mm,
					     unsigned long addr,
					     unsigned long end,
					     unsigned int entries)
{
	return end;
}

static inline unsigned long mshare_fault_end(struct mm_struct *mm,
					     unsigned long addr,
					     unsigned long end)
{
	return end;
}

static inline unsigned long mshare_dense_end(struct mm_struct *mm,
					     unsigned long addr,
					     unsigned long end)
{
	return end;
}

static inline bool mshare_wanted(struct mm_struct *mm)
{
	return false;
}

static inline int mshare_read_lock(struct mm_struct *mm)
{
	mmap_read_lock(mm);
	return 0;
}

static inline int mshare_relax(struct mm_struct *host, bool write)
{
	return 0;
}

static inline void mshare_give_way(struct mm_struct *host) { }

static inline bool mshare_may_lock(unsigned long pages)
{
	return true;
}

static inline int mshare_charge_locked(struct mm_struct *mm,
				       unsigned long pages)
{
	return 0;
}

static inline void mshare_recharge_locked(struct mm_struct *mm,
					  unsigned long pages)
{
}

static inline void mshare_uncharge_locked(struct mm_struct *mm,
					  unsigned long pages)
{
}

static inline struct vm_area_struct *
mshare_find_again(struct vma_iterator *vmi, struct mm_struct *host,
		  unsigned long start, unsigned long end,
		  struct vm_area_struct **prev)
{
	return NULL;
}

static inline int mshare_munmap(struct mm_struct *host, unsigned long start,
				size_t len)
{
	return 0;
}

static inline int mshare_make_room(struct mm_struct *host, struct file *file,
				   unsigned long addr, unsigned long len,
				   vm_flags_t vm_flags)
{
	return 0;
}

#endif /* CONFIG_MSHARE */

/*
 * Called for each piece of a VMA, with the host locked for reading. Non-zero
 * ends the walk, which returns it.
 */
typedef int (*mshare_piece_fn)(struct vm_area_struct *vma, unsigned long start,
			       unsigned long end, void *arg);

int mshare_walk_pieces(struct mm_struct *host, unsigned long start,
		       unsigned long end, mshare_piece_fn fn, void *arg);

#endif /* _LINUX_MSHARE_BOUND_H */
