/*
 * health.c - /health: 200 when the store-writer gives a sign of life, otherwise 503 with the reason. Plugin console, worker process.
 *
 * Never later than health_timeout, and never more than one question to the writer at once: who asks while one is under way gets
 * its answer too. While a question has been waiting for longer than that, everybody is told so at once.
 */
#include "console.h"

static void health_answer(struct console *p, struct sluice_http_req *http, const char *why)
{
	struct text t = {0};

	if (!why) {
		text_puts(&t, "{\"status\":\"ok\"}\n");
	} else {
		++*p->n_unhealthy;
		text_puts(&t, "{\"status\":\"unavailable\",\"reason\":");
		text_json(&t, SLICE(why, strlen(why)));
		text_puts(&t, "}\n");
	}
	answer_json(p, http, why ? 503 : 200, &t);
	text_fini(&t);
}

static void health_all(struct console *p, const char *why)
{
	struct call *c;

	while ((c = TAILQ_FIRST(&p->waiting)))
		health_answer(p, call_free(c), why);
}

static const char *health_why(int status)
{
	switch (status) {
	case SLUICE_OK:
		return NULL;
	case SLUICE_ELOST:
	case SLUICE_EBUSY:
		return "the store-writer is not running";
	case SLUICE_ENOMEM:
	case SLUICE_EAGAIN:
		return "the worker is overloaded";
	default:
		return "the store-writer cannot read its data";
	}
}

static void health_answered(void *arg, int status)
{
	struct console *p = arg;

	p->ping = NULL;
	p->host->timer_set(p->late, -1);
	health_all(p, health_why(status));
}

static const char late_why[] = "the store-writer does not answer";

static void health_late(void *arg)
{
	health_all(arg, late_why);
}

void health_request(void *self, struct sluice_http_req *http)
{
	struct console *p = self;
	uint64_t now = p->host->now_ms(p->ctx);
	int rc;

	if (p->ping && now - p->pinged_ms >= p->health_ms) {
		health_answer(p, http, late_why);
		return;
	}
	if (p->n_waiting >= WAITING_MAX) {
		health_answer(p, http, "too many ask at once");
		return;
	}
	if (!p->ping) {
		rc = p->server->ping(p->ctx, health_answered, p, &p->ping);
		if (rc) {
			p->ping = NULL;
			health_answer(p, http, health_why(rc));
			return;
		}
		p->pinged_ms = now;
		p->host->timer_set(p->late, (int64_t)p->health_ms);
	}
	(void)call_new(p, http, CALL_HEALTH);
}

int health_init(struct console *p)
{
	return p->host->timer_new(p->ctx, health_late, p, &p->late);
}

void health_fini(struct console *p)
{
	if (p->ping)
		p->store->cancel(p->ping);
	p->ping = NULL;
	if (p->late)
		p->host->timer_free(p->late);
	p->late = NULL;
}
