/*
 * test_layout.c - size and offset of every public member against layout.golden. The file only ever grows: a line that changes or
 * disappears breaks plugins that are already built.
 *
 * After an addition: tests/abi/test_layout --print > tests/abi/layout.golden, and look at the difference.
 */
#include "sluice/plugin.h"
#include "tests/unit/tap.h"

static FILE *to;

#define S(type) fprintf(to, "%s size %zu\n", #type, sizeof(struct type))
#define M(type, member) \
	fprintf(to, "%s.%s %zu %zu\n", #type, #member, offsetof(struct type, member), \
	        sizeof(((struct type *)0)->member))
#define V(name) fprintf(to, "%s %lld\n", #name, (long long)(name))

static void print_values(void)
{
	V(SLUICE_ABI_MAJOR);
	V(SLUICE_MAGIC);
	V(SLUICE_RECORD_OVERHEAD);
	V(SLUICE_OK);
	V(SLUICE_ENOMEM);
	V(SLUICE_EINVAL);
	V(SLUICE_ENOTSUP);
	V(SLUICE_EDENIED);
	V(SLUICE_EAGAIN);
	V(SLUICE_ENOENT);
	V(SLUICE_EEXIST);
	V(SLUICE_ECLOSED);
	V(SLUICE_ETOOBIG);
	V(SLUICE_ECONFLICT);
	V(SLUICE_ELOST);
	V(SLUICE_ECANCELED);
	V(SLUICE_EINTERNAL);
	V(SLUICE_EGONE);
	V(SLUICE_EFULL);
	V(SLUICE_EBUSY);
	V(SLUICE_WHY_NONE);
	V(SLUICE_WHY_TYPE);
	V(SLUICE_WHY_PRODUCER_GAP);
	V(SLUICE_WHY_PRODUCER_FENCED);
	V(SLUICE_WHY_PRODUCER_RESTART);
	V(SLUICE_WHY_STREAM_SEQ);
	V(SLUICE_WHY_TAIL);
	V(SLUICE_WHY_CONFIG);
	V(SLUICE_WHY_SOFT_DELETED);
	V(SLUICE_WHY_FORK_SOURCE);
	V(SLUICE_WHY_FORK_TYPE);
	V(SLUICE_WHY_FORK_OFFSET);
	V(SLUICE_WHY_FORK_SUB);
	V(SLUICE_WHY_TRIMMED);
	V(SLUICE_WHY_PAYLOAD);
	V(SLUICE_WHY_RESERVED);
	V(SLUICE_READ);
	V(SLUICE_WRITE);
	V(SLUICE_CAP_STORE);
	V(SLUICE_CAP_HTTP);
	V(SLUICE_CAP_WS);
	V(SLUICE_CAP_AUTH);
	V(SLUICE_LOG_ERR);
	V(SLUICE_LOG_WARN);
	V(SLUICE_LOG_INFO);
	V(SLUICE_LOG_DEBUG);
	V(SLUICE_T_BOOL);
	V(SLUICE_T_INT);
	V(SLUICE_T_SIZE);
	V(SLUICE_T_DURATION);
	V(SLUICE_T_STRING);
	V(SLUICE_T_ENUM);
	V(SLUICE_T_LISTENER);
	V(SLUICE_T_LIST);
	V(SLUICE_T_MAP);
	V(SLUICE_OPT_SECRET);
	V(SLUICE_OPT_RESTART);
	V(SLUICE_F_OWN_LOOP);
	V(SLUICE_OP_CREATE);
	V(SLUICE_OP_APPEND);
	V(SLUICE_OP_CLOSE);
	V(SLUICE_OP_REMOVE);
	V(SLUICE_OP_TRIM);
	V(SLUICE_A_CLOSE);
	V(SLUICE_A_EXPECT_TAIL);
	V(SLUICE_A_TTL);
	V(SLUICE_A_EXPIRES);
	V(SLUICE_A_FORK);
	V(SLUICE_A_FORK_AT);
	V(SLUICE_A_PRODUCER);
	V(SLUICE_A_STREAM_SEQ);
	V(SLUICE_A_REFUSE);
	V(SLUICE_A_INHERIT);
	V(SLUICE_A_EXPECT_POS);
	V(SLUICE_R_CLOSED);
	V(SLUICE_R_DUPLICATE);
	V(SLUICE_R_CREATED);
	V(SLUICE_R_UP_TO_DATE);
	V(SLUICE_R_TTL);
	V(SLUICE_R_EXPIRES);
	V(SLUICE_R_PRODUCER);
	V(SLUICE_R_INSIDE);
	V(SLUICE_RD_RENEW);
	V(SLUICE_RD_CONTINUE);
	V(SLUICE_RD_POS);
	V(SLUICE_EV_TAIL);
	V(SLUICE_EV_CLOSED);
	V(SLUICE_EV_REMOVED);
	V(SLUICE_EV_CREATED);
	V(SLUICE_EV_SOFT);
	V(SLUICE_EV_RESYNC);
	V(SLUICE_RT_COLLECT);
	V(SLUICE_RT_OWN_AUTH);
	V(SLUICE_RT_YIELD);
}

static void print_plain(void)
{
	S(sluice_slice);
	M(sluice_slice, data);
	M(sluice_slice, len);
	S(sluice_option);
	M(sluice_option, name);
	M(sluice_option, type);
	M(sluice_option, def);
	M(sluice_option, min);
	M(sluice_option, max);
	M(sluice_option, doc);
	M(sluice_option, sub);
	M(sluice_option, flags);
	M(sluice_plugin, magic);
	M(sluice_plugin, size);
	M(sluice_plugin, abi_major);
	M(sluice_plugin, abi_minor);
	M(sluice_plugin, flags);
	M(sluice_plugin, needs);
	M(sluice_plugin, name);
	M(sluice_plugin, version);
	M(sluice_plugin, default_mount);
	M(sluice_plugin, options);
	M(sluice_plugin, configure);
	M(sluice_plugin, start);
	M(sluice_plugin, drain);
	M(sluice_plugin, stop);
	M(sluice_op, size);
	M(sluice_op, kind);
	M(sluice_op, flags);
	M(sluice_op, n_messages);
	M(sluice_op, stream);
	M(sluice_op, content_type);
	M(sluice_op, data);
	M(sluice_op, producer);
	M(sluice_op, stream_seq);
	M(sluice_op, fork_of);
	M(sluice_op, message_len);
	M(sluice_op, payload);
	M(sluice_op, expect_tail);
	M(sluice_op, producer_epoch);
	M(sluice_op, producer_seq);
	M(sluice_op, ttl_s);
	M(sluice_op, expires_ms);
	M(sluice_op, fork_at);
	M(sluice_op, fork_sub);
	M(sluice_op, trim_to);
	M(sluice_result, size);
	M(sluice_result, status);
	M(sluice_result, reason);
	M(sluice_result, flags);
	M(sluice_result, message);
	M(sluice_result, incarnation);
	M(sluice_result, start);
	M(sluice_result, tail);
	M(sluice_result, earliest);
	M(sluice_result, producer_epoch);
	M(sluice_result, producer_seq);
	M(sluice_result, tail_pos);
	M(sluice_result, earliest_pos);
	S(sluice_record);
	M(sluice_record, end);
	M(sluice_record, data_end);
	M(sluice_read, size);
	M(sluice_read, flags);
	M(sluice_read, stream);
	M(sluice_read, from);
	M(sluice_read, budget);
	M(sluice_read, incarnation);
	M(sluice_read, until);
	M(sluice_read, skip);
	M(sluice_read_result, size);
	M(sluice_read_result, status);
	M(sluice_read_result, reason);
	M(sluice_read_result, flags);
	M(sluice_read_result, message);
	M(sluice_read_result, content_type);
	M(sluice_read_result, incarnation);
	M(sluice_read_result, created_ms);
	M(sluice_read_result, tail);
	M(sluice_read_result, earliest);
	M(sluice_read_result, ttl_s);
	M(sluice_read_result, expires_ms);
	M(sluice_read_result, from);
	M(sluice_read_result, end);
	M(sluice_read_result, payload_bytes);
	M(sluice_read_result, messages);
	M(sluice_read_result, data);
	M(sluice_read_result, next);
	M(sluice_read_result, skip);
	M(sluice_read_result, message_end);
	M(sluice_read_result, n_message_end);
	M(sluice_read_result, record);
	M(sluice_read_result, n_record);
	M(sluice_read_result, tail_pos);
	M(sluice_read_result, earliest_pos);
	M(sluice_read_result, skip_from);
	M(sluice_event, size);
	M(sluice_event, kind);
	M(sluice_event, stream);
	M(sluice_event, content_type);
	M(sluice_event, tail);
	M(sluice_event, incarnation);
	M(sluice_event, time_ms);
	S(sluice_list_item);
	M(sluice_list_item, size);
	M(sluice_list_item, entry);
	M(sluice_list_item, tail_pos);
	M(sluice_list_item, earliest_pos);
	M(sluice_list_item, written_ms);
	S(sluice_list_entry);
	M(sluice_list_entry, stream);
	M(sluice_list_entry, content_type);
	M(sluice_list_entry, tail);
	M(sluice_list_entry, earliest);
	M(sluice_list_entry, created_ms);
	M(sluice_list_entry, incarnation);
	M(sluice_list_entry, flags);
	S(sluice_retention_rule);
	M(sluice_retention_rule, prefix);
	M(sluice_retention_rule, max_age_ms);
	M(sluice_retention_rule, max_bytes);
	S(sluice_header);
	M(sluice_header, name);
	M(sluice_header, value);
}

static void print_tables(void)
{
	M(sluice_store, size);
	M(sluice_store, submit);
	M(sluice_store, read);
	M(sluice_store, subscribe);
	M(sluice_store, subscribe_prefix);
	M(sluice_store, unsubscribe);
	M(sluice_store, cancel);
	M(sluice_store, on_room);
	M(sluice_store, list);
	M(sluice_store, retention);
	M(sluice_store, list_items);
	M(sluice_route, size);
	M(sluice_route, flags);
	M(sluice_route, methods);
	M(sluice_route, pattern);
	M(sluice_route, action);
	M(sluice_route, max_body);
	M(sluice_route, request);
	M(sluice_route, body);
	M(sluice_route, pull);
	M(sluice_route, gone);
	M(sluice_http, size);
	M(sluice_http, route);
	M(sluice_http, defaults);
	M(sluice_http, method);
	M(sluice_http, path);
	M(sluice_http, target);
	M(sluice_http, origin);
	M(sluice_http, header);
	M(sluice_http, query);
	M(sluice_http, payload);
	M(sluice_http, principal);
	M(sluice_http, slot);
	M(sluice_http, compress);
	M(sluice_http, respond);
	M(sluice_http, write);
	M(sluice_http, write_buf);
	M(sluice_http, wake);
	M(sluice_http, end);
	M(sluice_http, reset);
	M(sluice_http, reply);
	M(sluice_http, pending);
	M(sluice_endpoint, size);
	M(sluice_endpoint, flags);
	M(sluice_endpoint, pattern);
	M(sluice_endpoint, subprotocols);
	M(sluice_endpoint, action);
	M(sluice_endpoint, max_message);
	M(sluice_endpoint, open);
	M(sluice_endpoint, message);
	M(sluice_endpoint, pull);
	M(sluice_endpoint, closed);
	M(sluice_ws_host, size);
	M(sluice_ws_host, endpoint);
	M(sluice_ws_host, path);
	M(sluice_ws_host, query);
	M(sluice_ws_host, header);
	M(sluice_ws_host, principal);
	M(sluice_ws_host, slot);
	M(sluice_ws_host, send);
	M(sluice_ws_host, send_buf);
	M(sluice_ws_host, pause);
	M(sluice_ws_host, close);
	M(sluice_ws_host, subprotocol);
	M(sluice_ws_host, target);
	M(sluice_host, size);
	M(sluice_host, abi_major);
	M(sluice_host, abi_minor);
	M(sluice_host, caps);
	M(sluice_host, store);
	M(sluice_host, http);
	M(sluice_host, ws);
	M(sluice_host, log);
	M(sluice_host, conf_int);
	M(sluice_host, conf_str);
	M(sluice_host, conf_len);
	M(sluice_host, conf_at);
	M(sluice_host, conf_error);
	M(sluice_host, listener_fd);
	M(sluice_host, watch_new);
	M(sluice_host, watch_set);
	M(sluice_host, watch_free);
	M(sluice_host, timer_new);
	M(sluice_host, timer_set);
	M(sluice_host, timer_free);
	M(sluice_host, defer);
	M(sluice_host, now_ms);
	M(sluice_host, wall_ms);
	M(sluice_host, buf_new);
	M(sluice_host, buf_ref);
	M(sluice_host, buf_unref);
	M(sluice_host, payload_len);
	M(sluice_host, payload_map);
	M(sluice_host, payload_truncate);
	M(sluice_host, payload_free);
	M(sluice_host, drained);
	M(sluice_host, fail);
	M(sluice_host, counter);
	M(sluice_host, gauge);
	M(sluice_host, authorize);
	M(sluice_host, claim);
}

static void print_ephemeral(void)
{
	V(SLUICE_CAP_EPHEMERAL);
	V(SLUICE_CHANNEL_DATA);
	V(SLUICE_CHANNEL_PUT);
	V(SLUICE_CHANNEL_GONE);
	V(SLUICE_CHANNEL_CAST);
	V(SLUICE_CHANNEL_TERMINATE);
	V(SLUICE_CHANNEL_MINE);
	V(SLUICE_CHANNEL_LOST);
	V(SLUICE_CHANNEL_WRITTEN);
	V(SLUICE_CHANNEL_JSON);
	S(sluice_channel);
	M(sluice_channel, size);
	M(sluice_channel, name);
	M(sluice_channel, incarnation);
	S(sluice_channel_event);
	M(sluice_channel_event, size);
	M(sluice_channel_event, kind);
	M(sluice_channel_event, flags);
	M(sluice_channel_event, tag);
	M(sluice_channel_event, serial);
	M(sluice_channel_event, key);
	M(sluice_channel_event, data);
	S(sluice_channel_kept);
	M(sluice_channel_kept, key);
	M(sluice_channel_kept, value);
	M(sluice_channel_kept, tag);
	S(sluice_channel_state);
	M(sluice_channel_state, size);
	M(sluice_channel_state, status);
	M(sluice_channel_state, flags);
	M(sluice_channel_state, state);
	M(sluice_channel_state, kept);
	M(sluice_channel_state, n_kept);
	S(sluice_channel_entry);
	M(sluice_channel_entry, name);
	M(sluice_channel_entry, incarnation);
	M(sluice_channel_entry, entries);
	M(sluice_channel_entry, subscribers);
	M(sluice_channel_entry, bytes);
	S(sluice_ephemeral);
	M(sluice_ephemeral, size);
	M(sluice_ephemeral, apply);
	M(sluice_ephemeral, put);
	M(sluice_ephemeral, cast);
	M(sluice_ephemeral, owner);
	M(sluice_ephemeral, disown);
	M(sluice_ephemeral, bootstrap);
	M(sluice_ephemeral, subscribe);
	M(sluice_ephemeral, unsubscribe);
	M(sluice_ephemeral, cancel);
	M(sluice_ephemeral, clear);
	M(sluice_ephemeral, list);
	M(sluice_host, ephemeral);
}

static void print_access(void)
{
	V(SLUICE_WHO_KNOWN);
	V(SLUICE_WHO_ANYBODY);
	V(SLUICE_WHO_NOBODY);
	V(SLUICE_WHO_INVALID);
	V(SLUICE_WHO_EXPIRED);
	V(SLUICE_VERIFY_EXP);
	M(sluice_verify, size);
	M(sluice_verify, flags);
	M(sluice_verify, secret);
	M(sluice_verify, n_secret);
	M(sluice_verify, issuer);
	M(sluice_verify, audience);
	M(sluice_verify, leeway_s);
	M(sluice_route, token_query);
	M(sluice_route, expire);
	M(sluice_http, refuse);
	M(sluice_endpoint, token_query);
	M(sluice_host, principal_who);
	M(sluice_host, principal_name);
	M(sluice_host, principal_expires);
	M(sluice_host, verify);
	M(sluice_host, principal_free);
}

static void print_snapshots(void)
{
	V(SLUICE_WHY_BEYOND);
	V(SLUICE_WHY_BOUNDARY);
	V(SLUICE_WHY_SNAPSHOT);
	V(SLUICE_OP_SNAPSHOT);
	V(SLUICE_A_AT_POS);
	V(SLUICE_A_EXPECT_SNAPSHOT);
	V(SLUICE_A_REPLACE);
	V(SLUICE_R_SNAPSHOT);
	V(SLUICE_RD_SNAPSHOT);
	M(sluice_op, expect_snapshot);
	M(sluice_result, snapshot);
	M(sluice_result, snapshot_pos);
	M(sluice_result, snapshot_digest);
	M(sluice_read_result, snapshot);
	M(sluice_read_result, snapshot_pos);
	M(sluice_read_result, snapshot_len);
	M(sluice_read_result, snapshot_id);
	M(sluice_read_result, snapshot_type);
	M(sluice_read_result, snapshot_digest);
}

static void print_server(void)
{
	V(SLUICE_CAP_SERVER);
	V(SLUICE_PROCESS_SUPERVISOR);
	V(SLUICE_PROCESS_STORE);
	V(SLUICE_PROCESS_WORKER);
	V(SLUICE_METRIC_COUNTER);
	V(SLUICE_METRIC_GAUGE);
	V(SLUICE_METRIC_HISTOGRAM);
	M(sluice_process, size);
	M(sluice_process, kind);
	M(sluice_process, name);
	M(sluice_process, state);
	M(sluice_process, frontend);
	M(sluice_process, pid);
	M(sluice_process, restarts);
	M(sluice_process, generation);
	M(sluice_process, uptime_ms);
	M(sluice_process, resident_bytes);
	M(sluice_process, cpu_ms);
	S(sluice_bucket);
	M(sluice_bucket, bound);
	M(sluice_bucket, count);
	M(sluice_metric, size);
	M(sluice_metric, kind);
	M(sluice_metric, name);
	M(sluice_metric, mount);
	M(sluice_metric, help);
	M(sluice_metric, value);
	M(sluice_metric, bucket);
	M(sluice_metric, n_bucket);
	M(sluice_metric, scale);
	M(sluice_listener, size);
	M(sluice_listener, frontend);
	M(sluice_listener, url);
	M(sluice_about, size);
	M(sluice_about, generation);
	M(sluice_about, reloading);
	M(sluice_about, version);
	M(sluice_about, config);
	M(sluice_about, data_dir);
	M(sluice_server, size);
	M(sluice_server, about);
	M(sluice_server, process);
	M(sluice_server, metric);
	M(sluice_server, listener);
	M(sluice_server, ping);
	M(sluice_host, server);
	M(sluice_http, errors);
}

static void print_all(FILE *file)
{
	to = file;
	print_values();
	print_plain();
	print_tables();
	print_ephemeral();
	print_access();
	print_snapshots();
	print_server();
	fflush(file);
}

/* Every line of the golden file must still be printed; what is printed and not in it is an addition nobody recorded. */
static void compare(const char *golden_path)
{
	FILE *golden = fopen(golden_path, "re"), *now = tmpfile();
	char want[256], got[256];
	int line = 0, same = 1;

	ok(golden && now, "there is a golden file");
	if (!golden || !now)
		return;
	print_all(now);
	rewind(now);
	while (same && fgets(want, sizeof want, golden)) {
		line++;
		same = fgets(got, sizeof got, now) && strcmp(got, want) == 0;
	}
	ok(line > 200, "it is not empty");
	ok(same, "nothing that was ever published has moved");
	if (!same)
		printf("#   line %d of layout.golden: want %s#   got %s", line, want, got);
	ok(!same || !fgets(got, sizeof got, now), "every addition is recorded");
	fclose(golden);
	fclose(now);
}

int main(int argc, char **argv)
{
	const char *top = getenv("top_srcdir");
	char path[4096];

	if (argc > 1 && strcmp(argv[1], "--print") == 0) {
		print_all(stdout);
		return 0;
	}
	snprintf(path, sizeof path, "%s/tests/abi/layout.golden", top ? top : ".");
	compare(path);
	return tap_done();
}
