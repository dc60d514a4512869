# SPDX-License-Identifier: LGPL-2.1-or-later
# In a configured kernel tree: the objects that kbuild makes in folder $(dir) for this
# configuration, one per line.
.DEFAULT_GOAL := objects
srctree := .
objtree := .
SRCARCH := x86
src := $(dir)
obj := $(dir)
include include/config/auto.conf
include scripts/Kbuild.include
include $(dir)/Makefile
include scripts/Makefile.lib
.PHONY: objects
objects:
	@printf '%s\n' $(real-obj-y)
