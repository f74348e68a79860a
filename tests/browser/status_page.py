#!/usr/bin/env python3
"""The status page in headless Chromium: three widths, light and dark, with and without JavaScript.

    tests/browser/run                        against `cargo demo`
    tests/browser/status_page.py URL [DIR]   against a running admin listener; screenshots go to DIR

It fails when the page logs an error, scrolls sideways, has no names for what it shows, has text of too
little contrast, hides where the keyboard is, or does not change while one looks.
"""

import sys
import time

from playwright.sync_api import sync_playwright

WIDTHS = {"phone": (390, 844), "tablet": (1024, 768), "desk": (1600, 1000)}

# What every text has behind it, by WCAG 2.1's formula; text that is not painted is left out.
CONTRAST = """() => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return [m[0], m[1], m[2], m[3] ?? 1]; };
  const light = ([r, g, b]) => { const f = (v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
    return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
  const bad = [];
  let least = 21;
  for (const e of document.querySelectorAll('body *')) {
    const text = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!text || ['SCRIPT', 'STYLE'].includes(e.nodeName) || e.closest('.hidden, thead, .skip') && innerWidth < 761) continue;
    if (e.closest('.skip, .hidden') || !e.checkVisibility({ checkOpacity: true })) continue;
    let at = e, ground = [0, 0, 0, 0];
    while (at && ground[3] === 0) { ground = parse(getComputedStyle(at).backgroundColor); at = at.parentElement; }
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground)].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    least = Math.min(least, ratio);
    if (ratio < 4.5) bad.push(`${ratio.toFixed(2)} ${e.nodeName} ${e.className} ${e.textContent.slice(0, 40)}`);
  }
  return { bad, least };
}"""

NAMES = """() => {
  const bad = [];
  const levels = [...document.querySelectorAll('h1,h2,h3,h4')].map((h) => +h.nodeName[1]);
  if (levels.filter((l) => l === 1).length !== 1) bad.push('not one h1');
  levels.forEach((l, i) => { if (i && l > levels[i - 1] + 1) bad.push('a heading level is left out'); });
  if (!document.documentElement.lang || !document.title) bad.push('no language or title');
  if (document.querySelectorAll('main').length !== 1) bad.push('not one main');
  for (const e of document.querySelectorAll('input')) if (!e.labels.length) bad.push('input without label');
  for (const e of document.querySelectorAll('a,button'))
    if (!(e.getAttribute('aria-label') || e.textContent).trim()) bad.push('a link without a name');
  for (const e of document.querySelectorAll('svg'))
    if (!e.getAttribute('aria-label') && e.getAttribute('aria-hidden') !== 'true') bad.push('a bar without a name');
  for (const e of document.querySelectorAll('th')) if (!e.scope) bad.push('th without scope');
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  if (new Set(ids).size !== ids.length) bad.push('an id twice');
  for (const e of document.querySelectorAll('[aria-labelledby]'))
    if (!document.getElementById(e.getAttribute('aria-labelledby'))) bad.push('labelled by nothing');
  return bad;
}"""

FOCUS = """() => { const s = getComputedStyle(document.activeElement);
  return [document.activeElement.nodeName, s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2]; }"""


def check(problems, where, is_right, what):
    if not is_right:
        problems.append(f"{where}: {what}")


def look(browser, url, name, size, scheme, shots, problems):
    where = f"{name} {scheme}"
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, device_scale_factor=2 if name == "phone" else 1)
    page = context.new_page()
    page.on("console", lambda message: problems.append(f"{where}: console: {message.text}") if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(f"{where}: {error}"))
    page.goto(url)
    page.wait_for_selector(".live.on", timeout=10_000)
    before = page.inner_text("main")
    page.wait_for_timeout(4_500)
    check(problems, where, page.inner_text("main") != before, "nothing changes while one looks")
    for path in ("", "?agent=" + page.locator("table.agents .who").first.inner_text() + "#switch"):
        if path:
            page.goto(url + path)
            page.wait_for_selector("#switch, .live.on")
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        check(problems, where, over <= 0, f"scrolls sideways by {over} px")
        contrast = page.evaluate(CONTRAST)
        for bad in contrast["bad"][:5]:
            problems.append(f"{where}: contrast {bad}")
        for bad in page.evaluate(NAMES):
            problems.append(f"{where}: {bad}")
        page.screenshot(path=f"{shots}/status{'-switch' if path else ''}-{name}-{scheme}.png")
        print(f"{where} {path or '/'}: least contrast {contrast['least']:.1f}")
    page.goto(url)
    for _ in range(6):
        page.keyboard.press("Tab")
        element, is_seen = page.evaluate(FOCUS)
        check(problems, where, is_seen, f"focus on {element} can't be seen")
    page.screenshot(path=f"{shots}/status-{name}-{scheme}-whole.png", full_page=True)
    context.close()


def without_javascript(browser, url, problems):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    check(problems, "no JavaScript", page.locator("table.agents tbody tr").count() > 0, "no agents")
    page.locator("table.agents a.button").first.click()
    page.fill("#token", "surely-wrong") if page.locator("#token").count() else None
    if page.locator("#token").count():
        page.click("#switch button")
        check(problems, "no JavaScript", "Nothing was changed" in page.inner_text("main"), "a wrong token is not refused in words")
    context.close()


def with_wrong_token(browser, url, problems):
    page = browser.new_context().new_page()
    page.goto(url)
    page.wait_for_selector(".live.on")
    page.locator("table.agents a.button").first.click()
    if not page.locator("#token").count():
        return
    page.fill("#token", "surely-wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#result.bad")
    check(problems, "form", "admin token is missing or wrong" in page.inner_text("#result"), page.inner_text("#result"))


def main():
    url, shots = sys.argv[1].rstrip("/") + "/", sys.argv[2] if len(sys.argv) > 2 else "/tmp"
    problems = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name, size in WIDTHS.items():
            for scheme in ("light", "dark"):
                look(browser, url, name, size, scheme, shots, problems)
        without_javascript(browser, url, problems)
        with_wrong_token(browser, url, problems)
        page = browser.new_page()
        started = time.monotonic()
        page.goto(url, wait_until="load")
        print(f"whole page loaded in {(time.monotonic() - started) * 1000:.0f} ms")
        browser.close()
    print("\n".join(dict.fromkeys(problems)) or "all right")
    sys.exit(1 if problems else 0)


main()
