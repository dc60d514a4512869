/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A FUSE file system that a child of the test serves. It holds pages back until
 * the test releases them.  Its files:
 *
 *   cached   read at once, through the page cache
 *   direct   with FOPEN_DIRECT_IO
 *   held     a read is answered only after fuse_release()
 */
#ifndef _MSHARE_FUSE_H
#define _MSHARE_FUSE_H

#include "mshare_helpers.h"

#include <linux/fuse.h>
#include <poll.h>

struct fuse {
	pid_t server;
	int fd;
	int release;
	int waiting;		/* a byte for each held read */
	char dir[64];
};

enum { FUSE_CACHED = 2, FUSE_DIRECT, FUSE_HELD };

static inline void fuse_answer(int fd, __u64 unique, int error,
			       const void *data, size_t len)
{
	struct fuse_out_header head = {
		.len = sizeof(head) + len, .error = -error, .unique = unique,
	};
	struct iovec vec[2] = {
		{ &head, sizeof(head) }, { (void *)data, len },
	};

	if (writev(fd, vec, 2) < 0)
		_exit(1);
}

static inline void fuse_attr_of(struct fuse_attr *attr, __u64 node)
{
	attr->ino = node;
	attr->nlink = 1;
	attr->mode = node == 1 ? S_IFDIR | 0755 : S_IFREG | 0666;
	attr->size = node == 1 ? 0 : MEG;
}

static inline __u64 fuse_node(const char *name)
{
	if (!strcmp(name, "cached"))
		return FUSE_CACHED;
	if (!strcmp(name, "direct"))
		return FUSE_DIRECT;
	return strcmp(name, "held") ? 0 : FUSE_HELD;
}

/* One request. Return: the unique number of a read that must wait, or 0. */
static inline __u64 fuse_serve_one(int fd, char *buf, size_t size, bool hold)
{
	struct fuse_in_header *in = (void *)buf;
	union {
		struct fuse_init_out init;
		struct fuse_entry_out entry;
		struct fuse_attr_out attr;
		struct fuse_open_out open;
		char page[PAGE];
	} out;

	if (read(fd, buf, size) < 0)
		_exit(0);
	memset(&out, 0, sizeof(out));
	switch (in->opcode) {
	case FUSE_INIT:
		out.init.major = 7;
		out.init.minor = 31;
		out.init.max_write = 65536;
		fuse_answer(fd, in->unique, 0, &out, sizeof(out.init));
		return 0;
	case FUSE_LOOKUP:
		out.entry.nodeid = fuse_node((char *)(in + 1));
		out.entry.entry_valid = 1000;
		out.entry.attr_valid = 1000;
		fuse_attr_of(&out.entry.attr, out.entry.nodeid);
		fuse_answer(fd, in->unique, 0, &out, sizeof(out.entry));
		return 0;
	case FUSE_GETATTR:
		out.attr.attr_valid = 1000;
		fuse_attr_of(&out.attr.attr, in->nodeid);
		fuse_answer(fd, in->unique, 0, &out, sizeof(out.attr));
		return 0;
	case FUSE_OPEN:
		if (in->nodeid == FUSE_DIRECT)
			out.open.open_flags = FOPEN_DIRECT_IO;
		fuse_answer(fd, in->unique, 0, &out, sizeof(out.open));
		return 0;
	case FUSE_READ:
		if (in->nodeid == FUSE_HELD && hold)
			return in->unique;
		memset(out.page, 'F', PAGE);
		fuse_answer(fd, in->unique, 0, &out, PAGE);
		return 0;
	case FUSE_FORGET:
	case FUSE_INTERRUPT:
		return 0;
	default:
		fuse_answer(fd, in->unique, ENOSYS, NULL, 0);
		return 0;
	}
}

static inline __noreturn void fuse_serve(int fd, int release, int waiting)
{
	static char buf[256 * 1024];
	struct pollfd p[2] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = release, .events = POLLIN },
	};
	__u64 held[16], unique;
	char page[PAGE];
	int n = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(page, 'H', PAGE);
	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			_exit(1);
		if (p[0].revents & POLLERR)
			_exit(0);
		if (p[0].revents & POLLIN) {
			unique = fuse_serve_one(fd, buf, sizeof(buf),
						p[1].fd >= 0);
			if (unique && n < 16) {
				held[n++] = unique;
				if (write(waiting, "w", 1) != 1)
					_exit(1);
			}
		}
		if (p[1].revents & POLLIN) {
			while (n)
				fuse_answer(fd, held[--n], 0, page, PAGE);
			/* Hold no read from now on. */
			p[1].fd = -1;
		}
	}
}

/* 0, or a negative errno if there is no FUSE. */
static inline int fuse_start(struct fuse *f)
{
	char options[128];
	int gate[2], waiting[2];

	snprintf(f->dir, sizeof(f->dir), "/tmp/mshare-fuse-XXXXXX");
	f->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (f->fd < 0)
		return -errno;
	if (!mkdtemp(f->dir) || pipe2(gate, O_CLOEXEC) ||
	    pipe2(waiting, O_CLOEXEC))
		return -errno;
	f->release = gate[1];
	f->waiting = waiting[0];
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0", f->fd);
	if (mount("mshare-test", f->dir, "fuse", 0, options))
		return -errno;
	f->server = fork();
	if (f->server < 0)
		return -errno;
	if (!f->server) {
		close(gate[1]);
		close(waiting[0]);
		fuse_serve(f->fd, gate[0], waiting[1]);
	}
	close(gate[0]);
	close(waiting[1]);
	return 0;
}

static inline int fuse_open_file(struct fuse *f, const char *name, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Wait until a read is held. Return: 0, or an error if the server died. */
static inline int fuse_wait_held(struct fuse *f)
{
	char c;

	return read(f->waiting, &c, 1) == 1 ? 0 : -EPIPE;
}

/* Answer the held reads and all later ones. */
static inline void fuse_release(struct fuse *f)
{
	if (write(f->release, "r", 1) != 1)
		ksft_print_msg("the server is gone: %s\n", strerror(errno));
}

/* End the connection: tasks that wait for a page get an error. */
static inline void fuse_stop(struct fuse *f)
{
	umount2(f->dir, MNT_FORCE | MNT_DETACH);
	kill(f->server, SIGKILL);
	waitpid(f->server, NULL, 0);
	close(f->fd);
	close(f->release);
	close(f->waiting);
	rmdir(f->dir);
}

#endif /* _MSHARE_FUSE_H */
