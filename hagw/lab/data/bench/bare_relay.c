/* A bare transparent relay: what the work itself costs in C. The same as hagw/lab/bench/bare.py, turn for turn.
 * bare-relay near PORT HAG PORT | far PORT - - */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#define BUFFER (256 * 1024)
#define HEADER 6

struct half {
	int fd, mask, done, asked;
	struct half *other;
	char *rest;
	size_t rest_size;
	char header[HEADER];
};

static char buffer[BUFFER];
static int poll_fd, near_end, door;
static struct sockaddr_in far_end;
static struct half *dead[8192];
static int dead_count;

static void want(struct half *h, int mask)
{
	struct epoll_event event = {.events = mask, .data.ptr = h};

	if (mask != h->mask && h->fd >= 0) {
		h->mask = mask;
		epoll_ctl(poll_fd, EPOLL_CTL_MOD, h->fd, &event);
	}
}

static struct half *add(int fd, int mask)
{
	struct half *h = calloc(1, sizeof *h);
	struct epoll_event event = {.events = mask, .data.ptr = h};
	int on = 1;

	h->fd = fd;
	h->mask = mask;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
	return h;
}

/* Closed at once, freed after the round: an event of this round may still point to it. */
static void drop_one(struct half *h)
{
	if (h && h->fd >= 0) {
		close(h->fd);
		h->fd = -1;
		free(h->rest);
		h->rest = NULL;
		dead[dead_count++] = h;
	}
}

static void drop(struct half *h)
{
	struct half *other = h->other;

	drop_one(h);
	drop_one(other);
}

static void keep(struct half *h, const char *from, size_t size)
{
	h->rest = realloc(h->rest, h->rest_size + size);
	memcpy(h->rest + h->rest_size, from, size);
	h->rest_size += size;
}

static void dial(struct half *h, struct sockaddr_in *to, int protocol, const char *first, size_t size)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, protocol);
	struct half *other;

	if (fd < 0 || (connect(fd, (struct sockaddr *)to, sizeof *to) && errno != EINPROGRESS)) {
		if (fd >= 0)
			close(fd);
		drop(h);
		return;
	}
	other = add(fd, EPOLLOUT);
	keep(other, first, size);
	h->other = other;
	other->other = h;
}

static void finish(struct half *h, struct half *other)
{
	if (other->done)
		drop(h);
	else
		shutdown(other->fd, SHUT_WR);
}

static void read_header(struct half *h)
{
	ssize_t size = recv(h->fd, h->header + h->asked, HEADER - h->asked, 0);
	struct sockaddr_in to = {.sin_family = AF_INET};

	if (size < 0 && errno == EAGAIN)
		return;
	if (size <= 0) {
		drop(h);
		return;
	}
	h->asked += size;
	if (h->asked < HEADER)
		return;
	memcpy(&to.sin_addr, h->header, 4);
	memcpy(&to.sin_port, h->header + 4, 2);
	dial(h, &to, 0, "", 0);
}

static void read_half(struct half *h)
{
	struct half *other = h->other;
	ssize_t size, sent;

	if (!other) {
		read_header(h);
		return;
	}
	size = recv(h->fd, buffer, BUFFER, 0);
	if (size < 0) {
		if (errno != EAGAIN)
			drop(h);
		return;
	}
	if (size == 0) {
		h->done = 1;
		want(h, h->mask & ~EPOLLIN);
		if (!other->rest_size)
			finish(h, other);
		return;
	}
	if (other->rest_size) {
		keep(other, buffer, size);
		want(h, h->mask & ~EPOLLIN);
		return;
	}
	sent = send(other->fd, buffer, size, MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN) {
		drop(h);
		return;
	}
	if (sent < 0)
		sent = 0;
	if (sent < size) {
		keep(other, buffer + sent, size - sent);
		want(other, other->mask | EPOLLOUT);
		want(h, h->mask & ~EPOLLIN);
	}
}

static void write_half(struct half *h)
{
	if (h->rest_size) {
		ssize_t sent = send(h->fd, h->rest, h->rest_size, MSG_NOSIGNAL);

		if (sent < 0) {
			if (errno != EAGAIN)
				drop(h);
			return;
		}
		h->rest_size -= sent;
		memmove(h->rest, h->rest + sent, h->rest_size);
	}
	if (h->rest_size)
		return;
	want(h, h->done ? 0 : EPOLLIN);
	if (!h->other)
		return;
	if (h->other->done)
		finish(h->other, h);
	else
		want(h->other, h->other->mask | EPOLLIN);
}

static void accept_all(void)
{
	for (;;) {
		int fd = accept4(door, NULL, NULL, SOCK_NONBLOCK);
		struct sockaddr_in asked;
		socklen_t size = sizeof asked;
		struct half *h;
		char header[HEADER];

		if (fd < 0)
			return;
		h = add(fd, EPOLLIN);
		if (!near_end)
			continue;
		getsockname(fd, (struct sockaddr *)&asked, &size);
		memcpy(header, &asked.sin_addr, 4);
		memcpy(header + 4, &asked.sin_port, 2);
		dial(h, &far_end, IPPROTO_MPTCP, header, HEADER);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = {.sin_family = AF_INET};
	struct epoll_event events[256], event = {.events = EPOLLIN};
	struct rlimit files;
	int on = 1;

	if (argc != 5)
		return 2;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	near_end = !strcmp(argv[1], "near");
	here.sin_port = htons(atoi(argv[2]));
	far_end.sin_family = AF_INET;
	far_end.sin_port = htons(atoi(argv[4]));
	inet_pton(AF_INET, argv[3], &far_end.sin_addr);
	signal(SIGPIPE, SIG_IGN);
	poll_fd = epoll_create1(0);
	door = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, near_end ? 0 : IPPROTO_MPTCP);
	setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (near_end)
		setsockopt(door, SOL_IP, IP_TRANSPARENT, &on, sizeof on);
	if (bind(door, (struct sockaddr *)&here, sizeof here) || listen(door, 4096)) {
		perror("bare-relay");
		return 1;
	}
	epoll_ctl(poll_fd, EPOLL_CTL_ADD, door, &event);
	for (;;) {
		int count = epoll_wait(poll_fd, events, 256, -1), i;

		for (i = 0; i < count; i++) {
			struct half *h = events[i].data.ptr;

			if (!h) {
				accept_all();
				continue;
			}
			if (h->fd >= 0 && events[i].events & EPOLLOUT)
				write_half(h);
			if (h->fd >= 0 && events[i].events & ~EPOLLOUT && !h->done)
				read_half(h);
		}
		while (dead_count)
			free(dead[--dead_count]);
	}
}
