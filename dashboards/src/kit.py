"""The pieces dashboards are made of: scoped queries, panels in one style, variables, links.

A query is written without the variables. Each selector gets a matcher for every variable of the
dashboard whose label its family has, so no panel can forget one.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common as common_b, dashboard as dashboard_b
from grafana_foundation_sdk.builders import (
    prometheus,
    stat as stat_b,
    table as table_b,
    timeseries as timeseries_b,
)
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.dashboard import DataSourceRef, DynamicConfigValue

import families

TAG = "tollgate"
DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

# Colours by Grafana's names: the theme picks the shade, so they are readable in light and dark.
GOOD, WARN, BAD, CALM = "green", "orange", "red", "blue"

# name: label in the menu, family the values come from
VARIABLES = {
    "job": ("Job", "tollgate_build_info"),
    "instance": ("Replica", "tollgate_build_info"),
    "installation": ("Installation", "tollgate_pool_limit"),
    "resource": ("Resource", "tollgate_pool_limit"),
    "agent": ("Agent", "tollgate_requests_total"),
}
# Labels Prometheus gives each target.
TARGET_LABELS = ("job", "instance")

METRIC = re.compile(r"\b((?:tollgate|process)_[a-z0-9_]+|up\b)(?:\{([^}]*)\})?")


def scope(expr: str, variables: Sequence[str]) -> str:
    """The query with its matchers. A label that is matched already is left at that."""

    def with_matchers(match: re.Match[str]) -> str:
        family = families.of(match[1])
        if family is None:
            raise ValueError(f"no such metric: {match[1]}, in {expr}")
        labels, own = (*TARGET_LABELS, *family.labels), match[2] or ""
        matched = [name for name in variables if name in labels and not re.search(rf"\b{name}[=!]", own)]
        matchers = [f'{name}=~"${name}"' for name in matched] + ([own] if own else [])
        return f"{match[1]}{{{','.join(matchers)}}}"

    return METRIC.sub(with_matchers, " ".join(expr.split()))


def counted(metric: str, by: str = "", over: str = "$__range") -> str:
    """How often in a time, by replicas that are gone, too. A series that began within it counts whole:
    `increase` misses its first."""
    assert metric.partition("{")[0].endswith("_total"), metric
    newborn = f"(last_over_time({metric}[{over}]) unless {metric} offset {over})"
    return f"sum{' by (' + by + ')' if by else ''} ({newborn} or increase({metric}[{over}]))"


@dataclass(frozen=True)
class Query:
    expr: str
    legend: str = "__auto"
    # Of this query, where it is not the panel's.
    unit: str | None = None
    # Column of a table.
    column: str | None = None
    width: int | None = None
    steps: tuple[tuple[float | None, str], ...] = ()


def quantiles(buckets: str) -> list[Query]:
    """How long half, 95 and 99 of a hundred took."""
    return [
        Query(f"histogram_quantile({part}, sum by (le) (rate({buckets}[$__rate_interval])))", name)
        for part, name in ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))
    ]


AGENT_URL = "/d/tollgate-agents?${__url_time_range}&${datasource:queryparam}&${job:queryparam}&var-agent="


def agent_link() -> dashboard_b.DashboardLink:
    """From a series of an agent to what is known of it."""
    return dashboard_b.DashboardLink("Agent and route").url(AGENT_URL + "${__field.labels.agent}")


@dataclass
class Sheet:
    """A dashboard in the making."""

    uid: str
    title: str
    says: str
    variables: Sequence[str]
    _panels: list[Any] = field(default_factory=list)
    _last_id: int = 0

    def row(self, title: str) -> None:
        self._last_id += 1
        self._panels.append(dashboard_b.Row(title).id(self._last_id))

    def stat(
        self,
        title: str,
        says: str,
        unit: str,
        expr: str,
        *,
        steps: tuple[tuple[float | None, str], ...] = ((None, CALM),),
        none: str = "no data",
        width: int = 4,
        sparkline: bool = True,
        decimals: int | None = None,
    ) -> None:
        """One number now, coloured by thresholds."""
        panel = (
            stat_b.Panel()
            .graph_mode(common.BigValueGraphMode.AREA if sparkline else common.BigValueGraphMode.NONE)
            .color_mode(common.BigValueColorMode.VALUE)
            .reduce_options(common_b.ReduceDataOptions().calcs(["lastNotNull"]))
            .thresholds(_thresholds(steps))
            .color_scheme(dashboard_b.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
            .no_value(none)
        )
        if decimals is not None:
            panel = panel.decimals(decimals)
        self._add(panel, title, says, unit, [Query(expr)], width, 4, instant=not sparkline)

    def lines(
        self,
        title: str,
        says: str,
        unit: str,
        *queries: Query,
        width: int = 12,
        height: int = 8,
        stacked: bool = False,
        steps: tuple[tuple[float | None, str], ...] = (),
        colours: dict[str, str] | None = None,
        lowest: float | None = 0,
        highest: float | None = None,
        links: Iterable[Any] = (),
    ) -> None:
        """Series over time."""
        panel = (
            timeseries_b.Panel()
            .line_width(1)
            .fill_opacity(25 if stacked else 8)
            .show_points(common.VisibilityMode.NEVER)
            .legend(
                common_b.VizLegendOptions()
                .display_mode(common.LegendDisplayMode.TABLE)
                .placement(common.LegendPlacement.BOTTOM)
                .show_legend(True)
                .calcs(["lastNotNull", "max"])
            )
            .tooltip(
                common_b.VizTooltipOptions()
                .mode(common.TooltipDisplayMode.MULTI)
                .sort(common.SortOrder.DESCENDING)
            )
            .color_scheme(dashboard_b.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        )
        if stacked:
            panel = panel.stacking(common_b.StackingConfig().mode(common.StackingMode.NORMAL))
        if steps:
            style = common.GraphThresholdsStyleMode.DASHED
            panel = panel.thresholds(_thresholds(steps))
            panel = panel.thresholds_style(common_b.GraphThresholdsStyleConfig().mode(style))
        if lowest is not None:
            panel = panel.min(lowest)
        if highest is not None:
            panel = panel.max(highest)
        for name, colour in (colours or {}).items():
            value = {"mode": "fixed", "fixedColor": colour}
            panel = panel.override_by_name(name, [DynamicConfigValue(id_val="color", value=value)])
        if links:
            panel = panel.data_links(list(links))
        self._add(panel, title, says, unit, queries, width, height)

    def bars(
        self,
        title: str,
        says: str,
        unit: str,
        query: Query,
        *,
        width: int = 8,
        height: int = 8,
        none: str = "no data",
    ) -> None:
        """Totals of the range shown, the largest first by `topk`."""
        panel = (
            bargauge.Panel()
            .orientation(common.VizOrientation.HORIZONTAL)
            .display_mode(common.BarGaugeDisplayMode.BASIC)
            .reduce_options(common_b.ReduceDataOptions().calcs(["lastNotNull"]))
            .color_scheme(dashboard_b.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
            .min(0)
            .no_value(none)
        )
        self._add(panel, title, says, unit, [query], width, height, instant=True)

    def table(
        self,
        title: str,
        says: str,
        unit: str,
        *queries: Query,
        names: dict[str, str],
        sort: str,
        width: int = 24,
        height: int = 8,
        link: tuple[str, str, str] | None = None,
    ) -> None:
        """A row for each set of labels, a column for each query. `link`: label, what it opens, URL."""
        hidden = {name: True for name in ("Time", "__name__") if name not in names}
        renamed = dict(names)
        panel = (
            table_b.Panel()
            .cell_height(common.TableCellHeight.SM)
            .color_scheme(dashboard_b.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
            .thresholds(_thresholds(((None, "text"),)))
            .no_value("–")
        )
        for index, query in enumerate(queries):
            column = query.column or ""
            shown = f"Value #{_ref(index)}" if len(queries) > 1 else "Value"
            renamed[shown] = column
            values = [DynamicConfigValue(id_val="unit", value=query.unit or unit)]
            if query.steps:
                steps = [{"value": value, "color": colour} for value, colour in query.steps]
                cell = {"type": "color-text"}
                values.append(
                    DynamicConfigValue(id_val="thresholds", value={"mode": "absolute", "steps": steps})
                )
                values.append(DynamicConfigValue(id_val="custom.cellOptions", value=cell))
            panel = panel.override_by_name(column, values)
        if link is not None:
            label, what, url = link
            value = [{"title": what, "url": url}]
            panel = panel.override_by_name(label, [DynamicConfigValue(id_val="links", value=value)])
        merge = dashboard.DataTransformerConfig(id_val="merge", options={})
        organize = dashboard.DataTransformerConfig(
            id_val="organize", options={"excludeByName": hidden, "renameByName": renamed}
        )
        panel = panel.with_transformation(merge).with_transformation(organize)
        panel = panel.sort_by([common_b.TableSortByFieldState().display_name(sort).desc(True)])
        self._add(panel, title, says, unit, queries, width, height, instant=True, tabular=True)

    def _add(
        self,
        panel: Any,
        title: str,
        says: str,
        unit: str,
        queries: Sequence[Query],
        width: int,
        height: int,
        *,
        instant: bool = False,
        tabular: bool = False,
    ) -> None:
        self._last_id += 1
        panel = panel.id(self._last_id).title(title).description(" ".join(says.split()))
        panel = panel.unit(unit).datasource(DATASOURCE).span(width).height(height)
        for index, query in enumerate(queries):
            target = (
                prometheus.Dataquery()
                .ref_id(_ref(index))
                .datasource(DATASOURCE)
                .expr(scope(query.expr, self.variables))
                .legend_format(query.legend)
            )
            target = target.instant() if instant else target.range()
            if tabular:
                target = target.format("table")  # type: ignore[arg-type]
            if not tabular and query.unit is not None:
                panel = panel.override_by_query(
                    _ref(index), [DynamicConfigValue(id_val="unit", value=query.unit)]
                )
            panel = panel.with_target(target)
        self._panels.append(panel)

    def build(self) -> dashboard.Dashboard:
        made = (
            dashboard_b.Dashboard(self.title)
            .uid(self.uid)
            .description(" ".join(self.says.split()))
            .tags([TAG])
            .editable()
            .timezone("browser")
            .time("now-3h", "now")
            .refresh("30s")
            .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
            .link(
                dashboard_b.DashboardLink("tollgate")
                .type(dashboard.DashboardLinkType.DASHBOARDS)
                .tags([TAG])
                .include_vars(True)
                .keep_time(True)
            )
            .annotation(self._mark("Restarts", CALM, "time() - process_start_time_seconds < 60"))
            .annotation(
                self._mark(
                    "GitHub refused for a limit",
                    BAD,
                    counted("tollgate_limit_hits_total", "installation, kind", "1m") + " > 0",
                )
            )
            .annotation(
                self._mark(
                    "Reload",
                    "purple",
                    counted("tollgate_config_reloads_total", "instance, result", "1m") + " > 0",
                )
            )
            .with_variable(
                dashboard_b.DatasourceVariable("datasource").label("Data source").type("prometheus")
            )
        )
        for name in self.variables:
            label, family = VARIABLES[name]
            before = [other for other in self.variables if other in TARGET_LABELS and other != name]
            if name == "job":
                before = []
            matchers = ",".join(f'{other}=~"${other}"' for other in before)
            selector = f"{family}{{{matchers}}}" if matchers else family
            made = made.with_variable(
                dashboard_b.QueryVariable(name)
                .label(label)
                .datasource(DATASOURCE)
                .query({"query": f"label_values({selector}, {name})", "refId": name})
                .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
                .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
                .multi(True)
                .include_all(True)
                .all_value(".*")
                .current(dashboard.VariableOption(selected=True, text=["All"], value=["$__all"]))
            )
        for panel in self._panels:
            is_row = isinstance(panel, dashboard_b.Row)
            made = made.with_row(panel) if is_row else made.with_panel(panel)
        return made.build()

    def _mark(self, name: str, colour: str, expr: str) -> dashboard_b.AnnotationQuery:
        return (
            dashboard_b.AnnotationQuery()
            .name(name)
            .datasource(DATASOURCE)
            .enable(True)
            .icon_color(colour)
            .expr(scope(expr, self.variables))
        )


def _ref(index: int) -> str:
    return chr(ord("A") + index)


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> dashboard_b.ThresholdsConfig:
    made = [dashboard.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard_b.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(made)
