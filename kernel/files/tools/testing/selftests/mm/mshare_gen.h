/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The generator of mshare_fuzz. It draws steps at random, takes the expected
 * result of each from the model, and keeps the model up to date.
 */
#ifndef _MSHARE_GEN_H
#define _MSHARE_GEN_H

#include "mshare_steps.h"

#define MAX_DRIVERS 6

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

enum share { OUT, SHARE_RO, SHARE_RW };

struct driver {
	enum share share;
	bool pinned;		/* its pipe holds a page */
	__u64 pin_base;
	int pin_page;
};

struct gen {
	struct model *m;
	__u64 rng;
	long no;		/* steps drawn */
	int nr;			/* drivers */
	struct driver driver[MAX_DRIVERS];
	int last;		/* driver of the last step */
	/* the region, or the range that a donor has mapped */
	bool named;
	bool ro;
	int sharers;
	int donor;		/* or -1 */
	int donor_left;		/* steps until then */
	bool concurrent;	/* other workers use the region, too */
	bool benign;		/* do not write to what is freed */
	bool dio;
};

static inline __u64 rnd64(struct gen *g)
{
	__u64 z = (g->rng += 0x9e3779b97f4a7c15ULL);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static inline unsigned int rnd(struct gen *g, unsigned int below)
{
	return (rnd64(g) >> 32) * below >> 32;
}

static inline bool one_in(struct gen *g, unsigned int n)
{
	return !rnd(g, n);
}

/* ------------------------------------------------------------ expectations */

enum acc { ACC_OK, ACC_SEGV, ACC_BUS, ACC_MAPERR };

/* The expected result of an access by a driver. */
static inline enum acc access_of(struct gen *g, int who, int page, bool write)
{
	const struct mpage *p = &g->m->page[page];
	bool donor = who == g->donor;

	if (g->driver[who].share == OUT && !donor)
		return ACC_MAPERR;
	if (g->driver[who].share == SHARE_RO && write)
		return ACC_SEGV;
	if (!p->kind)
		return donor ? ACC_MAPERR : ACC_BUS;
	if (!(p->prot & PROT_READ) || (write && !(p->prot & PROT_WRITE)))
		return ACC_SEGV;
	return beyond_eof(g->m, page) ? ACC_BUS : ACC_OK;
}

/* By /proc/self/mem, which ignores protections where memory is private. */
static inline bool forced_ok(struct gen *g, int who, int page, bool write)
{
	const struct mpage *p = &g->m->page[page];

	if (g->driver[who].share == OUT && who != g->donor)
		return false;
	if (!p->kind || beyond_eof(g->m, page))
		return false;
	if (!write)
		return true;
	if (g->driver[who].share == SHARE_RO)
		return false;
	return p->kind != K_SHARED || (p->prot & PROT_WRITE);
}

static inline void want_content(struct gen *g, struct step *s, int k)
{
	s->base[k] = content(g->m, s->page + k, &s->zero_ok[k]);
}

/* Shared content may be visible in other pages as well. */
static inline void begin_write(struct gen *g, int page, int n)
{
	int k;

	seq_begin(g->m, page, n);
	for (k = page; k < page + n; k++)
		if (g->m->page[k].kind == K_SHARED)
			seq_begin(g->m, 0, ARENA_PAGES);
}

static inline void put_content(struct gen *g, struct step *s, int k)
{
	s->base[k] = new_base(g->m, s->page + k);
	set_content(g->m, s->page + k, s->base[k]);
}

/* ------------------------------------------------------------------ choices */

/* Are all pages of the huge page around it ours? */
static inline bool huge_ok(struct gen *g, int page)
{
	return part_pages(g->m, page) >= HUGE;
}

/*
 * A huge page of shared memory is mapped across the end of its file, and what
 * lies behind the end can be read through it. khugepaged decides whether there
 * is one. So the first half of the files may become shorter and is mapped only
 * where no huge page can be mapped, and the other half keeps its size.
 */
static inline bool may_shrink(int obj)
{
	return obj < NR_FILES / 2;
}

/* Can a huge page of an object be mapped there? */
static inline bool huge_fits(int page, int off)
{
	return (page - off) % HUGE == 0;
}

/* One of our pages. */
static inline int any_page(struct gen *g)
{
	int page;

	do {
		/* Half of the draws from the small end. */
		if (g->benign)
			page = rnd(g, 64);
		else if (one_in(g, 2))
			page = segs[1].start + rnd(g, segs[1].pages);
		else
			page = segs[2 * rnd(g, 2)].start + rnd(g, HUGE / 4) *
			       rnd(g, 5);
	} while (owner_of(g->m->workers, page) != g->m->worker);
	return page;
}

/* A mapped page, if one is easily found. */
static inline int mapped_page(struct gen *g)
{
	int page, tries = one_in(g, 12) ? 1 : 10;

	do {
		page = any_page(g);
	} while (!g->m->page[page].kind && --tries);
	return page;
}

/* A page that the driver can access, if one is easily found. */
static inline int likely_page(struct gen *g, int who, bool write)
{
	int page, tries = one_in(g, 8) ? 1 : 10;

	do {
		page = mapped_page(g);
	} while (access_of(g, who, page, write) != ACC_OK && --tries);
	return page;
}

static inline int any_len(struct gen *g)
{
	switch (rnd(g, 16)) {
	case 0 ... 5:
		return 1;
	case 6 ... 10:
		return 2 + rnd(g, 7);
	case 11 ... 13:
		return 9 + rnd(g, 56);
	case 14:
		return 65 + rnd(g, 600);
	default:
		return HUGE;
	}
}

static inline void any_range(struct gen *g, struct step *s, bool mapped)
{
	s->page = mapped ? mapped_page(g) : any_page(g);
	s->n = any_len(g);
	if (s->n == HUGE && huge_ok(g, s->page))
		s->page &= -HUGE;
	/* The first page of each table is kept. */
	if (g->benign && s->page % HUGE == 0)
		s->page++;
	if (s->page + s->n > part_end(g->m, s->page))
		s->n = part_end(g->m, s->page) - s->page;
	if (g->benign && s->page % HUGE + s->n > HUGE)
		s->n = HUGE - s->page % HUGE;
}

static inline int any_prot(struct gen *g)
{
	static const int prot[] = {
		RW, RW, RW, RW, RW, PROT_READ, PROT_READ, PROT_NONE,
		PROT_READ | PROT_EXEC, RW | PROT_EXEC,
	};

	return prot[rnd(g, ARRAY_SIZE(prot))];
}

/* May the driver change the region?  If not, s gets the expected error. */
static inline bool may_change(struct gen *g, struct step *s)
{
	if (g->driver[s->who].share != SHARE_RO)
		return true;
	s->want = -EACCES;
	return false;
}

/* ---------------------------------------------------------------- accesses */

static inline void expect_access(struct gen *g, struct step *s, bool write)
{
	enum acc acc = access_of(g, s->who, s->page, write);
	int k, most = 1 + rnd(g, STEP_PAGES);

	s->write = write;
	for (k = 0; k < most && s->page + k < part_end(g->m, s->page); k++) {
		if (access_of(g, s->who, s->page + k, write) != acc)
			break;
		s->nr = k + 1;
		if (acc == ACC_OK && !write)
			want_content(g, s, k);
		if (acc != ACC_OK)
			break;
	}
	if (write)
		begin_write(g, s->page, s->nr);
	for (k = 0; write && acc == ACC_OK && k < s->nr; k++)
		put_content(g, s, k);
	switch (acc) {
	case ACC_SEGV:
		s->sig = SIGSEGV;
		s->code = SEGV_ACCERR;
		break;
	case ACC_MAPERR:
		s->sig = SIGSEGV;
		s->code = SEGV_MAPERR;
		break;
	case ACC_BUS:
		s->sig = SIGBUS;
		s->code = BUS_ADRERR;
		break;
	default:
		break;
	}
}

/* One page, accessed by a system call. */
static inline void expect_copy(struct gen *g, struct step *s)
{
	bool write = s->op == OP_COPY_TO || s->op == OP_VM_WRITE ||
		     s->op == OP_MEM_WRITE || s->op == OP_DIO_TO;
	bool mem = s->op == OP_MEM_READ || s->op == OP_MEM_WRITE;
	bool ok;

	s->other = s->who;
	if (s->op == OP_VM_READ || s->op == OP_VM_WRITE)
		s->other = rnd(g, g->nr);
	if (mem)
		ok = forced_ok(g, s->who, s->page, write);
	else
		ok = access_of(g, s->other, s->page, write) == ACC_OK;
	s->want = ok ? (long)PAGE : mem ? -EIO : -EFAULT;
	if (write) {
		begin_write(g, s->page, 1);
		s->base[0] = new_base(g->m, s->page);
		if (ok)
			set_content(g->m, s->page, s->base[0]);
	} else if (ok) {
		want_content(g, s, 0);
	}
}

/* False if there is nothing to pin. */
static inline bool expect_pin(struct gen *g, struct step *s)
{
	struct driver *d = &g->driver[s->who];
	const struct mpage *p = &g->m->page[s->page];
	bool zero_ok;

	if (d->pinned) {
		s->op = OP_UNPIN;
		s->page = d->pin_page;
		s->base[0] = d->pin_base;
		s->want = PAGE;
		d->pinned = false;
		return true;
	}
	if (access_of(g, s->who, s->page, false) != ACC_OK) {
		s->want = -EFAULT;
		return true;
	}
	/* Pages shared with a file may be punched out under the pipe. */
	if (p->kind == K_SHARED || !p->own || p->zero_ok || !p->base)
		return false;
	d->pinned = true;
	d->pin_page = s->page;
	d->pin_base = content(g->m, s->page, &zero_ok);
	s->want = PAGE;
	return true;
}

/* ---------------------------------------------------------------- mappings */

static inline bool any_mapped(struct gen *g, int page, int n)
{
	while (n--)
		if (g->m->page[page++].kind)
			return true;
	return false;
}

/* How many pages before the first hole. */
static inline int run_of(struct gen *g, int page, int n)
{
	int k;

	for (k = 0; k < n && g->m->page[page + k].kind; k++)
		;
	return k;
}

static inline void populate(struct gen *g, int page, int n)
{
	int k;

	for (k = page; k < page + n; k++)
		if (g->m->page[k].prot & PROT_WRITE)
			break_cow(g->m, k);
}

static inline void expect_mmap(struct gen *g, struct step *s)
{
	struct mpage like = { .prot = any_prot(g), .own = 1 };
	int flags = 0, obj = -1;

	s->arg[2] = -1;
	switch (rnd(g, 8)) {
	case 0 ... 2:
		like.kind = K_ANON;
		flags = MAP_PRIVATE | MAP_ANONYMOUS;
		break;
	case 3:
		like.kind = K_SHARED;
		flags = MAP_SHARED | MAP_ANONYMOUS;
		break;
	case 4 ... 5:
		like.kind = K_SHARED;
		flags = MAP_SHARED;
		break;
	default:
		like.kind = K_PRIVATE;
		flags = MAP_PRIVATE;
	}
	if (g->benign) {
		like.kind = K_SHARED;
		flags = MAP_SHARED;
	}
	if (s->n > OBJ_PAGES)
		s->n = OBJ_PAGES;
	if (like.kind != K_ANON)
		like.own = 0;
	if (!(flags & MAP_ANONYMOUS)) {
		obj = rnd(g, NR_FILES);
		s->arg[2] = obj;
		like.off = rnd(g, OBJ_PAGES - s->n + 1);
		if (s->n < HUGE && one_in(g, 2))
			like.off %= 16;
		if (may_shrink(obj) && huge_fits(s->page, like.off)) {
			obj += NR_FILES / 2;
			s->arg[2] = obj;
		}
		like.obj = obj;
	}
	if (one_in(g, 6))
		flags |= MAP_NORESERVE;
	if (one_in(g, 6))
		flags |= MAP_POPULATE;
	if (one_in(g, 24) && !g->benign) {
		flags |= MAP_LOCKED;
		like.locked = 1;
	}
	if (one_in(g, 6)) {
		flags |= MAP_FIXED_NOREPLACE;
		if (any_mapped(g, s->page, s->n))
			s->want = -EEXIST;
	} else {
		flags |= MAP_FIXED;
	}
	s->arg[0] = like.prot;
	s->arg[1] = flags;
	s->arg[3] = like.off;
	if (!may_change(g, s) || s->want)
		return;
	if (like.kind == K_SHARED && obj < 0) {
		obj = new_obj(g->m, s->n);
		if (obj < 0) {
			like.kind = K_ANON;
			like.own = 1;
			s->arg[1] ^= MAP_SHARED ^ MAP_PRIVATE;
		} else {
			like.obj = obj;
		}
	}
	seq_begin(g->m, s->page, s->n);
	map_pages(g->m, s->page, s->n, &like);
	if ((flags & (MAP_POPULATE | MAP_LOCKED)) && (like.prot & PROT_WRITE))
		populate(g, s->page, s->n);
}

static inline void expect_mprotect(struct gen *g, struct step *s)
{
	int k, n = run_of(g, s->page, s->n);

	s->arg[0] = any_prot(g);
	if (!may_change(g, s))
		return;
	/* The pages before the hole are changed all the same. */
	if (n < s->n)
		s->want = -ENOMEM;
	seq_begin(g->m, s->page, s->n);
	for (k = s->page; k < s->page + n; k++) {
		struct mpage *p = &g->m->page[k];

		/*
		 * A locked mapping that becomes writable is populated at once.
		 */
		if (p->locked == 1 && !(p->prot & PROT_WRITE) &&
		    (s->arg[0] & PROT_WRITE))
			break_cow(g->m, k);
		p->prot = s->arg[0];
	}
}

static inline void expect_populate(struct gen *g, struct step *s, bool write)
{
	int k;

	for (k = s->page; k < s->page + s->n; k++) {
		const struct mpage *p = &g->m->page[k];

		if (!p->kind) {
			s->want = -ENOMEM;
			return;
		}
		if (!(p->prot & PROT_READ) ||
		    (write && !(p->prot & PROT_WRITE))) {
			s->want = -EINVAL;
			return;
		}
		if (beyond_eof(g->m, k)) {
			s->want = -EFAULT;
			return;
		}
		if (write)
			break_cow(g->m, k);
	}
}

/* The result of advice for one page: 0, or an error that ends the call. */
static inline long advise_page(struct gen *g, int page, int advice)
{
	struct mpage *p = &g->m->page[page];

	switch (advice) {
	case MADV_FREE:
		if (p->locked || p->kind != K_ANON)
			return -EINVAL;
		if (p->base)
			p->zero_ok = 1;
		return 0;
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
		if (p->locked && advice == MADV_DONTNEED)
			return -EINVAL;
		p->zero_ok = 0;
		p->base = 0;
		p->own = p->kind == K_ANON;
		return 0;
	case MADV_COLD:
	case MADV_PAGEOUT:
		return p->locked ? -EINVAL : 0;
	case MADV_REMOVE:
		if (p->locked || p->kind == K_ANON)
			return -EINVAL;
		if (p->kind == K_PRIVATE)
			return -EACCES;
		obj_of(g->m, page)->base[p->off] = 0;
		return 0;
	default:
		return 0;
	}
}

static inline void expect_madvise(struct gen *g, struct step *s)
{
	static const int advices[] = {
		MADV_DONTNEED, MADV_DONTNEED, MADV_DONTNEED, MADV_FREE,
		MADV_FREE, MADV_PAGEOUT, MADV_PAGEOUT, MADV_PAGEOUT, MADV_COLD,
		MADV_REMOVE, MADV_REMOVE, MADV_POPULATE_READ,
		MADV_POPULATE_WRITE, MADV_POPULATE_WRITE, MADV_COLLAPSE,
		MADV_COLLAPSE, MADV_HUGEPAGE, MADV_HUGEPAGE, MADV_HUGEPAGE,
		MADV_NOHUGEPAGE, MADV_WILLNEED, MADV_DONTNEED_LOCKED,
		MADV_RANDOM, MADV_SEQUENTIAL, MADV_NORMAL, MADV_DONTDUMP, MADV_DODUMP,
		MADV_DONTFORK, MADV_WIPEONFORK, MADV_MERGEABLE,
	};
	int advice = advices[rnd(g, ARRAY_SIZE(advices))], k;
	bool harmless;
	long err;

	if (!have_advice(advice) ||
	    (advice == MADV_WILLNEED && !have_swap()))
		advice = MADV_NORMAL;
	harmless = advice == MADV_WILLNEED || advice == MADV_POPULATE_READ;

	if (g->benign)
		advice = MADV_POPULATE_READ;
	if ((advice == MADV_COLLAPSE || advice == MADV_HUGEPAGE) &&
	    huge_ok(g, s->page) && one_in(g, 2)) {
		s->page &= -HUGE;
		s->n = HUGE;
	}
	s->arg[0] = advice;
	if (!harmless && !may_change(g, s))
		return;
	switch (advice) {
	case MADV_DONTFORK:
	case MADV_WIPEONFORK:
	case MADV_MERGEABLE:
		/*
		 * Of a donor's own memory, because donating it would fail
		 * later.
		 */
		if (g->donor >= 0)
			s->arg[0] = MADV_NORMAL;
		else
			s->want = -EOPNOTSUPP;
		break;
	case MADV_COLLAPSE:
		s->want = ANY_RESULT;
		return;
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
		seq_begin(g->m, s->page, s->n);
		expect_populate(g, s, advice == MADV_POPULATE_WRITE);
		return;
	}
	if (s->want)
		return;
	if (advice == MADV_REMOVE)
		seq_begin(g->m, 0, ARENA_PAGES);
	else if (!harmless)
		seq_begin(g->m, s->page, s->n);
	/* A hole is reported at the end, an error ends the call. */
	for (k = s->page; k < s->page + s->n; k++) {
		if (!g->m->page[k].kind) {
			s->want = -ENOMEM;
			continue;
		}
		err = advise_page(g, k, advice);
		if (err) {
			s->want = err;
			return;
		}
	}
}

static inline void expect_mlock(struct gen *g, struct step *s)
{
	int k, n = run_of(g, s->page, s->n);

	s->arg[0] = s->op == OP_MLOCK && one_in(g, 3); /* MLOCK_ONFAULT */
	if (!may_change(g, s))
		return;
	seq_begin(g->m, s->page, s->n);
	for (k = s->page; k < s->page + n; k++)
		g->m->page[k].locked = s->op == OP_MUNLOCK ? 0 :
				       1 + s->arg[0];
	if (n < s->n) {
		s->want = -ENOMEM;
		return;
	}
	if (s->op == OP_MUNLOCK || s->arg[0])
		return;
	/* All pages are populated, up to the first one that fails. */
	for (k = s->page; k < s->page + n; k++) {
		if (!g->m->page[k].prot || beyond_eof(g->m, k)) {
			s->want = -ENOMEM;
			return;
		}
		if (g->m->page[k].prot & PROT_WRITE)
			break_cow(g->m, k);
	}
}

/*
 * mremap() depends on how mappings were merged: the model waits for the result.
 */
static inline bool expect_mremap(struct gen *g, struct step *s)
{
	const struct mpage *p = &g->m->page[s->page];
	int to, len = s->n, flags = MREMAP_MAYMOVE | MREMAP_FIXED, k;

	switch (rnd(g, 6)) {
	case 0:
		len = 1 + rnd(g, s->n);
		break;
	case 1:
		len = s->n + 1 + rnd(g, 16);
		break;
	case 2:
		flags |= MREMAP_DONTUNMAP;
		break;
	case 3:
		/* In place, to a shorter or longer length. */
		flags = 0;
		len = 1 + rnd(g, s->n + 8);
		break;
	}
	to = flags ? any_page(g) : s->page;
	if (len == HUGE && s->page % HUGE == 0 && huge_ok(g, to))
		to &= -HUGE;
	if (to + len > part_end(g->m, to))
		return false;
	for (k = s->page; k < s->page + s->n; k++)
		if (g->m->page[k].locked)
			return false;
	if (has_obj(p) && p->off + len > OBJ_PAGES)
		return false;
	/* No page beyond the end of a file where a huge page may be. */
	if (has_obj(p) && huge_fits(to, p->off) &&
	    (may_shrink(p->obj) ||
	     p->off + len > obj_of(g->m, s->page)->npages))
		return false;
	s->arg[0] = len;
	s->arg[1] = flags;
	s->arg[2] = to;
	if (!may_change(g, s))
		return true;
	if (!p->kind) {
		s->want = -EFAULT;
		return true;
	}
	if (flags && to < s->page + s->n && s->page < to + len) {
		s->want = -EINVAL;
		return true;
	}
	seq_begin(g->m, s->page, s->n);
	seq_begin(g->m, to, len);
	s->sync = true;
	if (!flags && len <= s->n)
		return true;
	/* Over the border of two mappings; no room to grow. */
	if (s->n > 1)
		s->alt[0] = -EFAULT;
	if (!flags)
		s->alt[1] = -ENOMEM;
	return true;
}

static inline void apply_mremap(struct gen *g, const struct step *s, long got)
{
	struct mpage moved[ARENA_PAGES], first = g->m->page[s->page];
	int to = s->arg[2], len = s->arg[0], both, k;
	struct model *m = g->m;

	if (!s->arg[1]) {
		if (len < s->n) {
			unmap_pages(m, s->page + len, s->n - len);
		} else if (!got) {
			first.off += s->n;
			first.base = 0;
			first.zero_ok = 0;
			first.own = first.kind == K_ANON;
			if (len > s->n)
				map_pages(m, s->page + s->n, len - s->n,
					  &first);
		}
		return;
	}
	/* It unmaps the target first, then the excess, and then it may fail. */
	unmap_pages(m, to, len);
	if (len < s->n)
		unmap_pages(m, s->page + len, s->n - len);
	both = len < s->n ? len : s->n;
	if (got)
		return;
	memcpy(moved, &m->page[s->page], both * sizeof(*moved));
	for (k = 0; k < both; k++) {
		struct mpage *p = &m->page[s->page + k];

		if (has_obj(p))
			m->obj[p->obj].refs++;
		m->page[to + k] = *p;
		if (s->arg[1] & MREMAP_DONTUNMAP) {
			p->base = 0;
			p->zero_ok = 0;
			p->own = p->kind == K_ANON;
		} else {
			unmap_page(m, s->page + k);
		}
	}
	if (len > s->n) {
		first = moved[0];
		first.off += s->n;
		first.base = 0;
		first.zero_ok = 0;
		first.own = first.kind == K_ANON;
		map_pages(m, to + s->n, len - s->n, &first);
	}
}

static inline void expect_msync(struct gen *g, struct step *s)
{
	static const int flags[] = {
		MS_SYNC, MS_ASYNC, MS_ASYNC | MS_INVALIDATE,
	};
	int k;

	s->arg[0] = flags[rnd(g, ARRAY_SIZE(flags))];
	if ((s->arg[0] & MS_SYNC) && !may_change(g, s))
		return;
	for (k = s->page; k < s->page + s->n; k++) {
		if (!g->m->page[k].kind) {
			s->want = -ENOMEM;
		} else if (g->m->page[k].locked &&
			   (s->arg[0] & MS_INVALIDATE)) {
			s->want = -EBUSY;
			return;
		}
	}
}

/* ----------------------------------------------------------------- objects */

static inline void expect_object(struct gen *g, struct step *s)
{
	int obj = rnd(g, NR_FILES), off, n;
	struct mobj *o = &g->m->obj[obj];

	s->arg[0] = obj;
	off = rnd(g, OBJ_PAGES);
	if (one_in(g, 2))
		off %= 16;
	s->arg[1] = off;
	s->page = 0;
	switch (s->op) {
	case OP_FD_READ:
		s->want = off < o->npages ? PAGE : 0;
		s->base[0] = o->base[off];
		return;
	case OP_FD_WRITE:
		seq_begin(g->m, 0, ARENA_PAGES);
		s->want = PAGE;
		s->base[0] = new_base(g->m, 0);
		o->base[off] = s->base[0];
		if (off >= o->npages)
			o->npages = off + 1;
		return;
	case OP_FD_PUNCH:
		seq_begin(g->m, 0, ARENA_PAGES);
		n = any_len(g);
		s->arg[2] = n;
		punch_obj(g->m, obj, off, n);
		return;
	default:
		obj %= NR_FILES / 2;
		s->arg[0] = obj;
		/* Usually long. */
		if (!one_in(g, 4))
			s->arg[1] = OBJ_PAGES - off % 16;
		seq_begin(g->m, 0, ARENA_PAGES);
		truncate_obj(g->m, obj, s->arg[1]);
	}
}

/* ------------------------------------------------------------------ regions */

static inline void share(struct gen *g, int who, enum share how)
{
	g->sharers += (how != OUT) - (g->driver[who].share != OUT);
	g->driver[who].share = how;
	/*
	 * The region is gone.  What a donor has mapped is not in a region yet.
	 */
	if (!g->sharers && !g->named && !g->concurrent && g->donor < 0)
		unmap_all(g->m);
}

static inline void expect_attach(struct gen *g, struct step *s)
{
	struct driver *d = &g->driver[s->who];
	bool ro = one_in(g, 5), excl;

	s->op = OP_ATTACH;
	s->arg[0] = ro ? O_RDONLY : O_RDWR;
	excl = g->named && one_in(g, 24);
	if (excl)
		s->arg[0] |= O_CREAT | O_EXCL;
	s->arg[1] = one_in(g, 16) ? 2 : 1;
	if (!g->named)
		s->want = -ENOENT;
	else if (excl)
		s->want = -EEXIST;
	else if (g->ro && !ro)
		s->want = -EACCES;
	else if (s->arg[1] > 1)
		s->want = -EINVAL;
	else if (d->share != OUT)
		s->want = -EEXIST;
	else
		share(g, s->who, ro ? SHARE_RO : SHARE_RW);
}

static inline void expect_leave(struct gen *g, struct step *s)
{
	bool was_out = g->driver[s->who].share == OUT;

	switch (s->op) {
	case OP_DETACH:
		share(g, s->who, OUT);
		return;
	case OP_RMFILE:
		if (!g->named)
			s->want = -ENOENT;
		g->named = false;
		break;
	default:
		if (was_out && !g->named)
			s->want = -ENOENT;
		/* The name is removed with the last sharer. */
		if (was_out || g->sharers == 1)
			g->named = false;
	}
	share(g, s->who, s->op == OP_RMFILE ? g->driver[s->who].share : OUT);
}

/* A driver creates a region from its mappings. */
static inline void expect_create(struct gen *g, struct step *s)
{
	g->ro = one_in(g, 12);
	s->op = OP_CREATE;
	s->arg[0] = O_CREAT | O_EXCL | (g->ro ? O_RDONLY : O_RDWR);
	s->arg[1] = 1;
	g->named = true;
	g->donor = -1;
	share(g, s->who, g->ro ? SHARE_RO : SHARE_RW);
}

static inline void expect_fork(struct gen *g, struct step *s)
{
	s->page = likely_page(g, s->who, true);
	s->arg[0] = one_in(g, 12) ? EXIT_EXEC : rnd(g, EXIT_EXEC);
	expect_access(g, s, one_in(g, 2));
}

/* ----------------------------------------------------------------- drawing */

static const struct {
	__u16 weight;
	__u8 op;
	bool alone;		/* not while other workers use the region */
} weights[] = {
	{ 800, OP_READ, false }, { 500, OP_WRITE, false },
	{ 50, OP_COPY_FROM, false }, { 50, OP_COPY_TO, false },
	{ 50, OP_VM_READ, false }, { 50, OP_VM_WRITE, false },
	{ 15, OP_MEM_READ, false }, { 15, OP_MEM_WRITE, false },
	{ 6, OP_DIO_FROM, false }, { 6, OP_DIO_TO, false },
	{ 20, OP_PIN, false }, { 5, OP_FORK, false },
	{ 90, OP_MMAP, false }, { 40, OP_MUNMAP, false },
	{ 80, OP_MPROTECT, false }, { 130, OP_MADVISE, false },
	{ 15, OP_MLOCK, false }, { 25, OP_MUNLOCK, false },
	{ 50, OP_MREMAP, false }, { 8, OP_MSYNC, false },
	{ 8, OP_MINCORE, false }, { 20, OP_FD_WRITE, false },
	{ 20, OP_FD_READ, false }, { 8, OP_FD_PUNCH, false },
	{ 12, OP_FD_TRUNCATE, false }, { 5, OP_DETACH, false },
	{ 5, OP_ATTACH, false }, { 2, OP_UNLINK, true },
	{ 1, OP_RMFILE, true }, { 20, OP_BORDER, false },
	{ 1, OP_HAND_OVER, true }, { 1, OP_SHAKE, false },
};

static inline enum op any_op(struct gen *g)
{
	static unsigned int sum;
	unsigned int i, at;

	if (!sum)
		for (i = 0; i < ARRAY_SIZE(weights); i++)
			sum += weights[i].weight;
	do {
		at = rnd(g, sum);
		for (i = 0; at >= weights[i].weight; i++)
			at -= weights[i].weight;
	} while (weights[i].alone && g->concurrent);
	return weights[i].op;
}

/* Possible for a process without a window. */
static inline bool possible_outside(enum op op)
{
	return op <= OP_VM_WRITE || op == OP_MEM_READ ||
	       (op >= OP_FD_WRITE && op <= OP_FD_TRUNCATE) ||
	       op == OP_UNLINK || op == OP_RMFILE || op == OP_FORK ||
	       op == OP_ATTACH;
}

/* Possible before a donor donates its mappings. */
static inline bool possible_for_donor(enum op op)
{
	return op <= OP_COPY_TO || (op >= OP_MMAP && op <= OP_MINCORE);
}

/* Shows a stale entry without harm, because no page is ever freed. */
static inline bool possible_benign(enum op op)
{
	return op == OP_READ || op == OP_MMAP || op == OP_MUNMAP ||
	       op == OP_MPROTECT || op == OP_MADVISE;
}

static inline void pick_driver(struct gen *g, struct step *s)
{
	if (!one_in(g, 8))
		s->who = g->last;
	else
		s->who = rnd(g, g->nr);
	if (g->donor >= 0)
		s->who = g->donor;
	g->last = s->who;
}

/* False if the step is not possible now. */
static inline bool draw(struct gen *g, struct step *s)
{
	struct driver *d = &g->driver[s->who];
	bool outside = d->share == OUT;
	enum op op = any_op(g);

	if (g->donor >= 0 ? !possible_for_donor(op) :
			    outside && !possible_outside(op))
		return false;
	if (g->benign && !possible_benign(op))
		return false;
	s->op = op;
	switch (op) {
	case OP_READ:
	case OP_WRITE:
		s->page = likely_page(g, s->who, op == OP_WRITE);
		expect_access(g, s, op == OP_WRITE);
		break;
	case OP_COPY_FROM ... OP_DIO_TO:
		if (op >= OP_DIO_FROM && !g->dio)
			return false;
		s->page = likely_page(g, s->who, one_in(g, 2));
		expect_copy(g, s);
		break;
	case OP_PIN:
		s->page = likely_page(g, s->who, false);
		return expect_pin(g, s);
	case OP_FORK:
		expect_fork(g, s);
		break;
	case OP_MMAP:
		any_range(g, s, false);
		expect_mmap(g, s);
		break;
	case OP_MUNMAP:
		any_range(g, s, true);
		if (!may_change(g, s))
			break;
		seq_begin(g->m, s->page, s->n);
		unmap_pages(g->m, s->page, s->n);
		break;
	case OP_MPROTECT:
		any_range(g, s, true);
		expect_mprotect(g, s);
		break;
	case OP_MADVISE:
		any_range(g, s, true);
		expect_madvise(g, s);
		break;
	case OP_MLOCK:
	case OP_MUNLOCK:
		any_range(g, s, true);
		expect_mlock(g, s);
		break;
	case OP_MREMAP:
		any_range(g, s, true);
		return expect_mremap(g, s);
	case OP_MSYNC:
		any_range(g, s, true);
		expect_msync(g, s);
		break;
	case OP_MINCORE:
		any_range(g, s, true);
		if (run_of(g, s->page, s->n) < s->n)
			s->want = -ENOMEM;
		break;
	case OP_FD_WRITE ... OP_FD_TRUNCATE:
		expect_object(g, s);
		break;
	case OP_ATTACH:
		expect_attach(g, s);
		break;
	case OP_DETACH:
	case OP_UNLINK:
	case OP_RMFILE:
		expect_leave(g, s);
		break;
	case OP_BORDER:
		s->page = any_page(g);
		s->arg[0] = rnd(g, 9);
		s->arg[1] = rnd(g, 2);
		s->want = -EINVAL;
		if (s->arg[0] == 7)
			may_change(g, s);
		break;
	case OP_SHAKE:
		/* This takes long, and continues for some time afterwards. */
		if (!one_in(g, 8))
			return false;
		s->arg[0] = rnd(g, 4);
		break;
	default:
		break;
	}
	return true;
}

/* Draw the next step and its driver. */
static inline void next_step(struct gen *g, struct step *s)
{
	g->no++;
	do {
		memset(s, 0, sizeof(*s));
		pick_driver(g, s);
		if (!g->named && !g->sharers && !g->concurrent) {
			/* No region: a driver maps memory and creates one. */
			if (g->donor < 0) {
				g->donor = s->who;
				g->donor_left = one_in(g, 2) ? 0 : rnd(g, 30);
			}
			if (!g->donor_left--) {
				expect_create(g, s);
				return;
			}
		} else if (g->driver[s->who].share == OUT && one_in(g, 3) &&
			   g->named) {
			expect_attach(g, s);
			return;
		} else if (g->ro && !g->concurrent && one_in(g, 40)) {
			/* Few steps are possible in this state. */
			s->op = one_in(g, 2) ? OP_UNLINK : OP_RMFILE;
			expect_leave(g, s);
			return;
		}
	} while (!draw(g, s));
}

/* The result of a step for which the model waited. */
static inline void apply_step(struct gen *g, const struct step *s, long got)
{
	if (s->op == OP_MREMAP)
		apply_mremap(g, s, got);
}

static inline void gen_init(struct gen *g, struct model *m, __u64 seed,
			    int drivers)
{
	int k;

	memset(g, 0, sizeof(*g));
	g->m = m;
	g->rng = seed;
	g->nr = drivers;
	g->donor = -1;
	for (k = 0; k < NR_FILES; k++)
		m->obj[k].npages = OBJ_PAGES;
}

#endif /* _MSHARE_GEN_H */
