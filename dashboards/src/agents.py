"""One agent, or several: what each got of what it asked for, and where its points went."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from kit import AGENT_URL, BAD, CALM, GOOD, WARN, Query, Sheet, counted

SPENT = "rate(tollgate_agent_spent_total[$__rate_interval])"
LONG = "rate(tollgate_agent_spent_total[5m])"


def build() -> Dashboard:
    sheet = Sheet(
        "tollgate-agents",
        "tollgate / Agent and route",
        "What agents asked for and got: choose one in *Agent*, or click its name in the table.",
        ("job", "installation", "resource", "agent"),
    )
    sheet.row("Agents")
    sheet.table(
        "Agents",
        "Of the range shown. *Refused* was told to come back when its share allows; *denied* was stopped by "
        "policy; *failed* is GitHub's, the store's or tollgate's doing. **Do:** click a name for that agent "
        "alone. An agent of mostly refused requests wants much more than its part: raise its `weight`, or "
        "let it ask less often.",
        "short",
        Query(counted('tollgate_requests_total{outcome="served"}', "agent"), column="Served"),
        Query(
            counted('tollgate_requests_total{outcome="refused"}', "agent"),
            column="Refused",
            steps=((None, "text"), (1, WARN)),
        ),
        Query(
            counted('tollgate_requests_total{outcome="denied"}', "agent"),
            column="Denied",
            steps=((None, "text"), (1, WARN)),
        ),
        Query(
            counted('tollgate_requests_total{outcome="failed"}', "agent"),
            column="Failed",
            steps=((None, "text"), (1, BAD)),
        ),
        Query(counted("tollgate_agent_spent_total", "agent"), column="Points"),
        Query("sum by (agent) (tollgate_waiting)", column="Waiting"),
        names={"agent": "Agent"},
        sort="Points",
        link=("Agent", "This agent alone", AGENT_URL + "${__value.raw}"),
    )

    sheet.row("Share")
    sheet.lines(
        "Share and what was spent of it",
        "*share*: the agent's weight among those seen in the last minute; *spent*: its part of all points "
        "that agents spent in five minutes. While all want more than there is the two agree; an agent that "
        "wants less leaves the rest to others. **Do:** spent well below share while the agent waits: look "
        "at why below; well above is lent from idle agents.",
        "percentunit",
        Query(
            "max by (installation, resource, agent) (tollgate_agent_share_ratio)",
            "share, {{agent}} {{resource}}",
        ),
        Query(
            f"sum by (installation, resource, agent) ({LONG}) / ignoring (agent) group_left "
            'sum by (installation, resource) (rate(tollgate_agent_spent_total{agent=~".*"}[5m]))',
            "spent, {{agent}} {{resource}}",
        ),
        highest=1,
    )
    sheet.lines(
        "Points spent",
        "Points a second by GitHub's resource. **Do:** a resource that surprises (search, graphql) is worth "
        "a look at *Routes*.",
        "suffix: pt/s",
        Query(f"sum by (agent, resource) ({SPENT})", "{{agent}} {{resource}}"),
        stacked=True,
    )

    sheet.row("What became of its requests")
    sheet.lines(
        "Outcomes",
        "*served*, *refused* for the budget, *denied* by policy, *invalid* in itself, or *failed*. **Do:** "
        "refused that never ends is a client that does not heed `retry-after`; see docs/clients.md.",
        "reqps",
        Query("sum by (outcome) (rate(tollgate_requests_total[$__rate_interval]))", "{{outcome}}"),
        stacked=True,
        width=8,
        colours={"served": GOOD, "refused": "yellow", "denied": "purple", "invalid": CALM, "failed": BAD},
    )
    sheet.lines(
        "Waiting now",
        "Requests the budget holds. **Do:** a few are normal for an agent that wants more than its share; a "
        "number that does not move while *Points spent* is 0 is one that starves: the runbook, "
        "TollgateAgentStarved.",
        "short",
        Query("sum by (agent) (tollgate_waiting)", "{{agent}}"),
        stacked=True,
        width=8,
    )
    sheet.lines(
        "Refused for the budget",
        "Part of the requests that policy let pass and the budget sent away. **Do:** above a half, raise "
        "`max_wait` or have the client send `Prefer: wait=SECONDS`, so that it is held instead.",
        "percentunit",
        Query(
            'sum by (agent) (rate(tollgate_requests_total{outcome="refused"}[$__rate_interval])) '
            '/ sum by (agent) (rate(tollgate_requests_total{outcome=~"served|refused|failed"}[$__rate_interval]))',
            "{{agent}}",
        ),
        width=8,
        highest=1,
        steps=((None, "transparent"), (0.5, WARN)),
    )
    sheet.lines(
        "Denials by code",
        "What policy refused; docs/errors.md says what helps for each code. **Do:** the audit log names the "
        "requests; `policy.mode: observe` tries a policy first.",
        "reqps",
        Query("sum by (agent, code) (rate(tollgate_denied_total[$__rate_interval]))", "{{agent}} {{code}}"),
        stacked=True,
    )
    sheet.lines(
        "Let through by observe mode",
        "Requests that would have been held or refused, were the budget or the policy enforced. Empty where "
        "nothing only observes. **Do:** when the rest is as it should be, set `mode: enforce`.",
        "reqps",
        Query(
            "sum by (agent, reason) (rate(tollgate_observed_total[$__rate_interval]))", "{{agent}} {{reason}}"
        ),
        stacked=True,
    )

    sheet.row("Routes (of all agents)")
    sheet.bars(
        "Busiest routes",
        "Requests in the range shown by path template, the fifteen most frequent. **Do:** a route that is "
        "asked over and over is one to cache, or to replace by a cheaper one: `x-tollgate-hint` tells "
        "agents which.",
        "short",
        Query(
            f"topk(15, {counted('tollgate_http_requests_total', 'method, route')})", "{{method}} {{route}}"
        ),
        height=10,
        width=12,
    )
    sheet.bars(
        "Routes with errors",
        "Answers of 400 and above in the range shown, by route and status, the fifteen most frequent. "
        "**Do:** 403 is a limit, a missing permission or a denial; 404 often a repository the App is not "
        "installed in; 5xx GitHub's or tollgate's.",
        "short",
        Query(
            "topk(15, "
            + counted('tollgate_http_requests_total{status=~"[45].."}', "method, route, status")
            + ")",
            "{{status}} {{method}} {{route}}",
        ),
        height=10,
        width=12,
        none="none",
    )
    sheet.lines(
        "Requests by status",
        "What callers were answered. **Do:** compare with *GitHub's answers* in Overview to see what is "
        "tollgate's own.",
        "reqps",
        Query("sum by (status) (rate(tollgate_http_requests_total[$__rate_interval]))", "{{status}}"),
        stacked=True,
    )
    sheet.lines(
        "GraphQL: cost over computed price",
        "What queries cost over the price computed before they were sent, for queries that ask for "
        "`rateLimit { cost }`. Around 1 is right. **Do:** far above 1 the budget reserves too little for "
        "such queries; report the query.",
        "none",
        Query(
            "histogram_quantile(0.5, sum by (le, installation) "
            "(rate(tollgate_graphql_price_ratio_bucket[5m])))",
            "half, {{installation}}",
        ),
        Query(
            "histogram_quantile(0.95, sum by (le, installation) "
            "(rate(tollgate_graphql_price_ratio_bucket[5m])))",
            "95 %, {{installation}}",
        ),
        steps=((None, "transparent"), (2, WARN)),
    )
    return sheet.build()
