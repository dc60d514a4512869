/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The actions that polkit is asked about; polkit/org.mshare1.policy describes them, and org.mshare1(5) says when. */
#define ACTION_CREATE_REGION "org.mshare1.create-region"
#define ACTION_ACQUIRE_REGION "org.mshare1.acquire-region"
#define ACTION_REMOVE_REGION "org.mshare1.remove-region"
#define ACTION_RESIZE_REGION "org.mshare1.resize-region"
#define ACTION_SET_MODE "org.mshare1.set-mode"
#define ACTION_SET_OWNER "org.mshare1.set-owner"
