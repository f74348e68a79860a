"""Replicas, their store, GitHub's credentials, and the processes themselves."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from kit import BAD, CALM, GOOD, WARN, Query, Sheet, counted, quantiles

# Any time that is over; a value that is missing gets the first step's colour, and is no alarm.
LONG_AGO = -1e12


def build() -> Dashboard:
    sheet = Sheet(
        "tollgate-operations",
        "tollgate / Operations",
        "The replicas, the store they share, the tokens they hold and the processes they are.",
        ("job", "instance", "installation"),
    )
    sheet.row("Replicas")
    sheet.stat(
        "Store",
        "Whether every replica's connection to the shared store answers: 1 is yes. No data with "
        "`budget.store: memory`. **Do:** the runbook, TollgateStoreAway.",
        "short",
        "min(tollgate_store_up)",
        steps=((None, "text"), (0, BAD), (1, GOOD)),
        none="embedded",
        sparkline=False,
        decimals=0,
    )
    sheet.stat(
        "Soonest end of a token",
        "Time until the first of the newest installation tokens ends. Tokens last an hour and are renewed "
        "with the first request in their last five minutes, so an idle installation's may end. **Do:** "
        "below 0 on a busy installation: the runbook, TollgateTokenNotRenewed.",
        "s",
        "min(tollgate_token_expiry_timestamp_seconds) - time()",
        steps=((None, "text"), (LONG_AGO, WARN), (60, GOOD)),
        none="no token yet",
    )
    sheet.stat(
        "Calls in flight",
        "Calls to GitHub under way. GitHub takes a hundred at once of an installation; tollgate stops at "
        "`budget.secondary.concurrent`. **Do:** near that, see GitHub's latency.",
        "short",
        "sum(tollgate_inflight)",
        decimals=0,
    )
    sheet.stat(
        "Longest cooldown",
        "Time for which an installation stays silent because GitHub asked for it. Must be 0. **Do:** the "
        "runbook, TollgateSecondaryCooldown.",
        "s",
        "max(tollgate_cooldown_seconds)",
        steps=((None, GOOD), (1, BAD)),
        sparkline=False,
    )
    sheet.stat(
        "Audit lines lost",
        "Lines of the audit log that could not be written, in the range shown. Must be 0. **Do:** the "
        "runbook, TollgateAuditLost.",
        "short",
        counted("tollgate_audit_lost_total"),
        steps=((None, GOOD), (1, BAD)),
        sparkline=False,
        none="log is off",
        decimals=0,
    )
    sheet.stat(
        "Failed reloads",
        "Reloads of the configuration that were not taken, in the range shown; the one before stays in "
        "force. **Do:** the log has every problem; the runbook, TollgateReloadFailed.",
        "short",
        counted('tollgate_config_reloads_total{result!="ok"}'),
        steps=((None, GOOD), (1, BAD)),
        sparkline=False,
        none="no reload",
        decimals=0,
    )
    sheet.stat(
        "Certificate ends in",
        "Time until the listener's certificate ends, of the replica where it ends first. **Do:** below a sixth of "
        "its life, the runbook, TollgateCertificateEnds.",
        "s",
        "min(tollgate_certificate_expiry_timestamp_seconds) - time()",
        steps=((None, "text"), (LONG_AGO, BAD), (86400, WARN), (21 * 86400, GOOD)),
        none="no TLS",
    )
    sheet.table(
        "Versions and uptime",
        "A row for each replica. **Do:** different versions outside a roll-out mean that one did not "
        "finish; a short uptime is a restart: look for the log's last words.",
        "short",
        Query("max by (instance, version) (tollgate_build_info)", column="Up"),
        Query(
            "max by (instance) (time() - process_start_time_seconds) * on (instance) group_right max by "
            "(instance, version) (tollgate_build_info)",
            column="Uptime",
            unit="s",
        ),
        Query(
            "max by (instance) (process_resident_memory_bytes) * on (instance) group_right max by "
            "(instance, version) (tollgate_build_info)",
            column="Memory",
            unit="bytes",
        ),
        names={"instance": "Replica", "version": "Version"},
        sort="Uptime",
        width=20,
        height=6,
    )

    sheet.row("Store")
    sheet.lines(
        "Time of a step, half of them",
        "Calls to the shared store by step, both attempts together; a request waits for its *admit*. No "
        "data with an embedded store. **Do:** above a millisecond, Redis is far away or busy "
        "(docs/capacity.md).",
        "s",
        Query(
            "histogram_quantile(0.5, sum by (le, op) (rate(tollgate_store_duration_seconds_bucket[$__rate_interval])))",
            "{{op}}",
        ),
        width=8,
    )
    sheet.lines(
        "Time of a step, 99 %",
        "The slowest in a hundred. A call takes at most two attempts of 100 ms. **Do:** spikes with *Failed "
        "attempts* beside them are the network or a Redis that stalls.",
        "s",
        Query(
            "histogram_quantile(0.99, sum by (le, op) (rate(tollgate_store_duration_seconds_bucket[$__rate_interval])))",
            "{{op}}",
        ),
        width=8,
        steps=((None, "transparent"), (0.1, WARN)),
    )
    sheet.lines(
        "Steps",
        "Calls to the store a second, by step. **Do:** with some 0.3 ms of Redis' time each, 2,000 a second "
        "are most of a core: docs/capacity.md says how to spread.",
        "ops",
        Query("sum by (op) (rate(tollgate_store_duration_seconds_count[$__rate_interval]))", "{{op}}"),
        width=8,
        stacked=True,
    )
    sheet.lines(
        "Store up, by replica",
        "1 while a replica lets calls through to the store. **Do:** one replica at 0 is cut off; all at 0 "
        "is the store.",
        "short",
        Query("min by (instance) (tollgate_store_up)", "{{instance}}"),
        highest=1,
        steps=((None, BAD), (1, "transparent")),
    )
    sheet.lines(
        "Failed attempts",
        "*timeout*, *connection*, or *server*: an error that Redis answered. **Do:** server is a wrong type "
        "of server, keys of another program, or a full memory; the log has its words.",
        "ops",
        Query("sum by (kind) (rate(tollgate_store_errors_total[$__rate_interval]))", "{{kind}}"),
        stacked=True,
        colours={"timeout": WARN, "connection": "yellow", "server": BAD},
    )

    sheet.row("GitHub")
    sheet.lines(
        "Time left of the newest token",
        "By installation and access; renewed with the first request in the last five minutes. **Do:** below "
        "0 while requests go out: see *Tokens minted*.",
        "s",
        Query(
            "max by (installation, access) (tollgate_token_expiry_timestamp_seconds) - time()",
            "{{installation}} {{access}}",
        ),
        width=8,
        lowest=None,
        steps=((None, WARN), (60, "transparent")),
    )
    sheet.lines(
        "Tokens minted",
        "Installation tokens asked for, by result. **Do:** failed ones are a key that was revoked, an App "
        "that was suspended or uninstalled, or GitHub being away; the log says which.",
        "ops",
        Query(
            "sum by (installation, result) (rate(tollgate_token_refresh_total[5m]))",
            "{{installation}} {{result}}",
        ),
        width=8,
    )
    sheet.lines(
        "In flight",
        "Calls to GitHub under way, by installation. **Do:** a plateau at `budget.secondary.concurrent` "
        "means slots are what binds, because GitHub is slow.",
        "short",
        Query("sum by (installation) (tollgate_inflight)", "{{installation}}"),
        width=8,
        steps=((None, "transparent"), (90, WARN)),
    )
    sheet.lines(
        "Cooldown",
        "How long each installation stays silent after GitHub refused. **Do:** the runbook, "
        "TollgateSecondaryCooldown.",
        "s",
        Query("max by (installation) (tollgate_cooldown_seconds)", "{{installation}}"),
        width=8,
    )
    sheet.lines(
        "Ledger drift",
        "GitHub's count of what is used, less ours. Above 0: users outside tollgate, or another tollgate "
        "without the shared store. Below 0: we count what GitHub does not. What was "
        "spent before a memory store started, or a Redis came back empty, stands above 0 until the window ends. **Do:** the runbook, "
        "TollgateLedgerDrift.",
        "short",
        Query("max by (installation, resource) (tollgate_ledger_drift)", "{{installation}} {{resource}}"),
        width=8,
        lowest=None,
    )
    sheet.lines(
        "Figures not used",
        "Answers of GitHub's whose headers about limits were missing (`absent`) or made no sense "
        "(`garbled`). **Do:** some absent ones are normal for 5xx; if all are, something between tollgate "
        "and GitHub drops headers, and the budget counts blindly.",
        "ops",
        Query(
            "sum by (installation, reason) (rate(tollgate_figures_ignored_total[$__rate_interval]))",
            "{{installation}} {{reason}}",
        ),
        width=8,
    )
    sheet.lines(
        "Attempts made again",
        "*status*: GitHub's 5xx; *connection*: it broke; *rate_limit*; *token_refused* and "
        "*token_replication*: a token GitHub does not know, or not yet. At most a tenth of all calls. "
        "**Do:** nothing; the cause is in *GitHub's answers*.",
        "ops",
        Query("sum by (reason) (rate(tollgate_retries_total[$__rate_interval]))", "{{reason}}"),
        width=8,
        stacked=True,
    )
    sheet.lines(
        "Approvals",
        "Looked for by gated operations: *accepted*; *missing*, which is how a client learns what to sign; "
        "*refused*, *spent* or *forgotten*: not taken; *unsure*: the store could not tell. **Do:** the "
        "runbook, TollgateApprovalsFailing.",
        "ops",
        Query("sum by (result) (rate(tollgate_approvals_total[$__rate_interval]))", "{{result}}"),
        width=8,
        stacked=True,
        colours={"accepted": GOOD, "missing": CALM, "refused": BAD},
    )
    sheet.lines(
        "Webhook deliveries",
        "What GitHub told of changes, by event and result, and how many wait. **Do:** *forged* is a wrong "
        "secret, or somebody else; *shed* is more than can be worked in; none at all with a webhook set up: "
        "GitHub can't reach the listener.",
        "ops",
        Query(
            "sum by (event, result) (rate(tollgate_webhook_deliveries_total[$__rate_interval]))",
            "{{event}} {{result}}",
        ),
        Query("sum(tollgate_webhook_queue)", "queued", unit="short"),
        width=8,
    )

    sheet.row("Cache")
    sheet.lines(
        "Size of the cache",
        "Bytes of answers kept, by replica; at most `cache.max_size`. **Do:** a cache that is always full "
        "and seldom hits needs more room.",
        "bytes",
        Query("sum by (instance) (tollgate_cache_bytes)", "{{instance}}"),
        width=6,
    )
    sheet.lines(
        "Answers from the cache",
        "Part of the reads the cache has a part in that cost no point. **Do:** nothing; docs/cache.md says "
        "what is kept.",
        "percentunit",
        Query(
            'sum(rate(tollgate_cache_requests_total{result=~"hit|revalidated|coalesced|stale"}[$__rate_interval])) '
            '/ sum(rate(tollgate_cache_requests_total{result!="bypass"}[$__rate_interval]))',
            "free",
        ),
        width=6,
        highest=1,
    )
    sheet.lines(
        "Revalidations",
        "How GitHub was asked whether something is still so (`by`), and what it said. *predicted* is a tag "
        "worked out for a new token. **Do:** if *predicted* is mostly `changed`, GitHub makes its tags "
        "otherwise now: tollgate stops by itself, and reads cost more; report it.",
        "ops",
        Query(
            "sum by (by, result) (rate(tollgate_cache_validators_total[$__rate_interval]))",
            "{{by}} {{result}}",
        ),
        width=6,
        stacked=True,
    )
    sheet.lines(
        "What replicas tell each other",
        "Messages of what changed, so that no replica serves what another one knows to be old: *sent* and "
        "*heard*; *failed*, *missed* and *garbled* ones make the replica ask GitHub again. **Do:** if they "
        "do not end, the store loses messages or is another program's.",
        "ops",
        Query("sum by (result) (rate(tollgate_feed_messages_total[$__rate_interval]))", "{{result}}"),
        width=6,
        stacked=True,
    )

    sheet.row("Process")
    sheet.lines(
        "CPU",
        "Cores in use, by replica. **Do:** at the container's limit, latency grows: add a replica.",
        "percentunit",
        Query("rate(process_cpu_seconds_total[$__rate_interval])", "{{instance}}"),
        width=8,
    )
    sheet.lines(
        "Memory",
        "Resident bytes, by replica; the cache is in it. docs/bounds.md says what is bounded. **Do:** "
        "growth without end is a defect: report it.",
        "bytes",
        Query("process_resident_memory_bytes", "{{instance}}"),
        width=8,
    )
    sheet.lines(
        "Descriptors",
        "Open descriptors as a part of those the process may have. **Do:** the runbook, "
        "TollgateDescriptorsRunOut.",
        "percentunit",
        Query("process_open_fds / process_max_fds", "{{instance}}"),
        width=8,
        highest=1,
        steps=((None, "transparent"), (0.8, BAD)),
    )
    sheet.lines(
        "Time in tollgate",
        "Overhead of the chosen replicas: what is neither GitHub's nor waiting. **Do:** compare replicas; "
        "one that is slow alone has a busy neighbour on its machine.",
        "s",
        *quantiles("tollgate_overhead_seconds_bucket"),
        width=24,
        height=7,
    )
    return sheet.build()
