"""Is it healthy, who waits and why, and will the quota last?"""

from grafana_foundation_sdk.models.dashboard import Dashboard

from kit import BAD, CALM, GOOD, WARN, Query, Sheet, agent_link, counted, quantiles

# Windows that have not ended: a replica that has long not called shows figures of an old one.
OPEN = "and tollgate_pool_reset_timestamp_seconds > time()"
POOL = "by (installation, resource)"
LEFT = f"min {POOL} (tollgate_pool_remaining {OPEN})"
LIMIT = f"max {POOL} (tollgate_pool_limit {OPEN})"
USED = f"max {POOL} (tollgate_pool_used {OPEN})"
# What everybody spends, users outside tollgate included. A window's end is no spending, and hides what follows it for
# as long as it is in sight.
BURN = f"max {POOL} (clamp_min(deriv(tollgate_pool_used[4m]), 0) {OPEN})"
RESETS_IN = f"max {POOL} (tollgate_pool_reset_timestamp_seconds {OPEN}) - time()"


def build() -> Dashboard:
    sheet = Sheet(
        "tollgate-overview",
        "tollgate / Overview",
        "Is tollgate healthy, will each installation's quota last until its reset, and who waits for what? "
        "Drill down by agent in *Agent and route*, by replica in *Operations*.",
        ("job", "installation", "resource"),
    )
    sheet.row("Is it healthy?")
    sheet.stat(
        "GitHub refused for a limit",
        "403 and 429 in which GitHub refused for a primary or secondary limit, in the range shown. Must be "
        "0: tollgate keeps each limit ahead of time. **Do:** see *Limits GitHub refused for* below, then "
        "the runbook, TollgateLimitHit.",
        "short",
        f"{counted('tollgate_limit_hits_total')} or vector(0)",
        steps=((None, GOOD), (1, BAD)),
        sparkline=False,
        decimals=0,
    )
    sheet.stat(
        "Served",
        "Part of the requests that were let by policy and got GitHub's answer; the rest was refused for the "
        "budget or failed. **Do:** below 95 % look at *Requests by outcome*: refused is a budget that is "
        "too small, failed is GitHub, the store or tollgate.",
        "percentunit",
        'sum(rate(tollgate_requests_total{outcome="served"}[$__rate_interval])) '
        '/ sum(rate(tollgate_requests_total{outcome=~"served|refused|failed"}[$__rate_interval]))',
        steps=((None, "text"), (0, BAD), (0.9, WARN), (0.95, GOOD)),
        none="no requests",
        sparkline=False,
        decimals=1,
    )
    sheet.stat(
        "Requests",
        "Requests of all agents a second, whatever became of them. **Do:** nothing; a sudden change is "
        "worth a look at *Points by agent*.",
        "reqps",
        "sum(rate(tollgate_requests_total[$__rate_interval]))",
        none="none",
        sparkline=False,
    )
    sheet.stat(
        "Waiting now",
        "Requests the budget holds at this moment. Some are normal while several agents want more than "
        "there is. **Do:** if it only grows, see *Why requests are held*.",
        "short",
        "sum(tollgate_waiting) or vector(0)",
        steps=((None, CALM), (100, WARN), (1000, BAD)),
        decimals=0,
    )
    sheet.stat(
        "Points saved by the cache",
        "Points of the quota that answers out of the cache did not cost, in the range shown. **Do:** "
        "nothing; near 0 with many reads, clients ask for ever new URLs or the cache is off.",
        "short",
        counted("tollgate_quota_saved_total"),
        none="nothing yet",
        sparkline=False,
        decimals=0,
    )
    sheet.stat(
        "Replicas",
        "Replicas that are scraped. **Do:** fewer than you run: see the runbook, TollgateReplicaDown.",
        "short",
        "count(tollgate_build_info) or vector(0)",
        steps=((None, BAD), (1, GOOD)),
        sparkline=False,
        decimals=0,
    )

    sheet.row("Quota")
    sheet.table(
        "Pools and their forecast",
        "Each installation's pools by GitHub's own count. *Spent* is by everybody in the last four minutes, "
        "users outside tollgate included; for windows of a minute, such as search, it says nothing. *At reset* is what will be left if that goes on; below 0 it runs "
        "out before. tollgate spreads what is left, so a negative figure means that somebody outside "
        "spends, or that the budget only observes. **Do:** the runbook, TollgateBudgetRunsOut.",
        "short",
        Query(LIMIT, column="Limit"),
        Query(LEFT, column="Left"),
        Query(
            f"{LEFT} / {LIMIT}",
            column="Left %",
            unit="percentunit",
            steps=((None, BAD), (0.02, WARN), (0.1, GOOD)),
        ),
        Query(BURN, column="Spent", unit="suffix: pt/s"),
        Query(RESETS_IN, column="Resets in", unit="s"),
        Query(f"{LEFT} - {BURN} * ({RESETS_IN})", column="At reset", steps=((None, BAD), (0, GOOD))),
        names={"installation": "Installation", "resource": "Resource"},
        sort="Spent",
    )
    sheet.lines(
        "Left of each pool",
        "What GitHub says is left, as a part of its limit. A straight slope down to nearly 0 at the reset "
        "is a quota that is used well. **Do:** steeper than that, somebody outside tollgate spends: *Ledger "
        "drift* in Operations.",
        "percentunit",
        Query(f"{LEFT} / {LIMIT}", "{{installation}} {{resource}}"),
        steps=((None, BAD), (0.02, WARN), (0.1, "transparent")),
        highest=1,
    )
    sheet.lines(
        "Points spent and given out",
        "*Spent* is by GitHub's count, by everybody; *given out* is the pace at which tollgate lets calls "
        "go. **Do:** spent well above given out means that somebody outside uses the installation: raise "
        "`budget.headroom`, or move them to another App.",
        "suffix: pt/s",
        Query(BURN, "spent, {{installation}} {{resource}}"),
        Query(f"max {POOL} (tollgate_pool_rate {OPEN})", "given out, {{installation}} {{resource}}"),
    )

    sheet.row("Traffic")
    sheet.lines(
        "Requests by outcome",
        "*served*: GitHub's answer, or the cache's; *refused*: told to come back later; *denied*: policy "
        "said no; *invalid*: the request itself is wrong; *failed*: GitHub, the store or tollgate did not "
        "answer. **Do:** for failed see *GitHub's answers*, for denied *Denials*.",
        "reqps",
        Query("sum by (outcome) (rate(tollgate_requests_total[$__rate_interval]))", "{{outcome}}"),
        stacked=True,
        width=8,
        colours={"served": GOOD, "refused": "yellow", "denied": "purple", "invalid": CALM, "failed": BAD},
    )
    sheet.lines(
        "GitHub's answers",
        "Calls to GitHub by status; `none` is a call without an answer. 403 may be a missing permission of "
        "the App as well as a limit. **Do:** 5xx and none are GitHub's or the way to it; 401 is the App's "
        "credential.",
        "reqps",
        Query("sum by (status) (rate(tollgate_upstream_requests_total[$__rate_interval]))", "{{status}}"),
        stacked=True,
        width=8,
    )
    sheet.lines(
        "Limits GitHub refused for",
        "Refusals by kind, as increase over the step shown. Must stay empty or flat at 0. **Do:** the "
        "runbook, TollgateLimitHit.",
        "short",
        Query(
            counted("tollgate_limit_hits_total", "installation, kind", "$__rate_interval"),
            "{{installation}} {{kind}}",
        ),
        width=8,
        steps=((None, "transparent"), (1, BAD)),
    )
    sheet.lines(
        "Points by agent",
        "The ten agents that spend most. **Do:** click a line to see one agent; to give it less, lower its "
        "`weight` or set a `ceiling`.",
        "suffix: pt/s",
        Query("topk(10, sum by (agent) (rate(tollgate_agent_spent_total[$__rate_interval])))", "{{agent}}"),
        stacked=True,
        links=[agent_link()],
    )
    sheet.lines(
        "Denials",
        "Requests policy refused, by code (docs/errors.md), as increase over the step shown. **Do:** `unauthenticated` is a wrong or old "
        "key; the other codes name what the agent may not do. The audit log has each of them.",
        "short",
        Query(counted("tollgate_denied_total", "code", "$__rate_interval"), "{{code}}"),
        stacked=True,
    )

    sheet.row("Waiting")
    sheet.lines(
        "Who waits",
        "Requests held now, by agent. **Do:** one agent that always waits wants more than its part: click "
        "for its share; raise its `weight`, or give it a `guarantee`.",
        "short",
        Query("sum by (agent) (tollgate_waiting)", "{{agent}}"),
        stacked=True,
        width=8,
        links=[agent_link()],
    )
    sheet.lines(
        "Why requests are held",
        "Requests a second that were held and then let go, by reason. *pool*: the share; *start*: nobody has called the "
        "pool yet, and one call finds out; *route*, *installation*, *content*, *spacing*, *ring*: secondary limits; *exhausted*: the window is spent; "
        "*cooldown*: GitHub asked for silence; *ceiling*: the agent's own. **Do:** pool is normal; for the "
        "secondary ones spread the work over routes or installations.",
        "reqps",
        Query(
            'sum by (reason) (rate(tollgate_wait_seconds_count{reason!="none"}[$__rate_interval]))',
            "{{reason}}",
        ),
        stacked=True,
        width=8,
    )
    sheet.lines(
        "How long they are held",
        "Waiting times of requests that were held, by quantile. Refused ones are not in it. **Do:** near "
        "`budget.max_wait` more and more are refused instead: see *Requests by outcome*.",
        "s",
        *quantiles('tollgate_wait_seconds_bucket{reason!="none"}'),
        width=8,
    )

    sheet.row("Speed")
    sheet.lines(
        "Latency of served requests",
        "From the request's head to the answer's, with GitHub's time and waiting. **Do:** compare with the "
        "two panels beside it to see whose time it is.",
        "s",
        *quantiles('tollgate_request_duration_seconds_bucket{outcome="served"}'),
        width=8,
    )
    sheet.lines(
        "Time in tollgate",
        "Overhead: what is neither GitHub's nor waiting. Below a millisecond on a good day. **Do:** above 5 "
        "ms look at CPU and the store in Operations.",
        "s",
        *quantiles("tollgate_overhead_seconds_bucket"),
        width=8,
        steps=((None, "transparent"), (0.005, WARN)),
    )
    sheet.lines(
        "GitHub's latency",
        "From sending a call to the first byte of the answer, 95th percentile by method. **Do:** nothing "
        "here; GitHub's status page tells more.",
        "s",
        Query(
            "histogram_quantile(0.95, sum by (le, method) "
            "(rate(tollgate_upstream_duration_seconds_bucket[$__rate_interval])))",
            "{{method}}",
        ),
        width=8,
    )

    sheet.row("Cache")
    sheet.lines(
        "Reads by what the cache did",
        "*hit*: answered unasked; *revalidated*: GitHub said 304, free; *coalesced*: one call served "
        "several; *changed* and *miss*: paid for; *stale*: GitHub failed; *bypass*: not for the cache. "
        "**Do:** nothing.",
        "reqps",
        Query("sum by (result) (rate(tollgate_cache_requests_total[$__rate_interval]))", "{{result}}"),
        stacked=True,
    )
    sheet.lines(
        "Points saved",
        "Points a second that reads did not cost: *fresh* out of memory, *revalidated* by a 304, "
        "*coalesced* with another call. **Do:** to save more, set `cache.fresh_for`: docs/cache.md.",
        "suffix: pt/s",
        Query("sum by (by) (rate(tollgate_quota_saved_total[$__rate_interval]))", "{{by}}"),
        stacked=True,
    )
    return sheet.build()
