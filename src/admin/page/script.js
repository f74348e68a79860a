// Keeps the page up to date, and sends the form without leaving it. All of it works without this, too.
"use strict";
const live = document.getElementById("live");
const connection = document.getElementById("connection");

// Makes `now` look like `next` and touches only what differs: focus, open parts and scrolling stay.
function morph(now, next) {
  if (now.isEqualNode(next)) return;
  if (now.nodeType !== 1 || now.nodeName !== next.nodeName) { now.replaceWith(next); return; }
  for (const { name } of [...now.attributes])
    if (!next.hasAttribute(name) && !(name === "open" && now.nodeName === "DETAILS")) now.removeAttribute(name);
  for (const { name, value } of next.attributes) if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  const keyed = new Map();
  for (const child of now.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let at = now.firstChild;
  for (const child of [...next.childNodes]) {
    const key = child.dataset?.key;
    const known = key ? keyed.get(key) : at && !at.dataset?.key ? at : undefined;
    if (!known) { now.insertBefore(child, at); continue; }
    if (known === at) at = at.nextSibling;
    // Only what moved is taken out: an element that is loses its focus.
    else now.insertBefore(known, at);
    morph(known, child);
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
}

function say(text, mood) {
  if (connection.textContent !== text) connection.textContent = text;
  connection.className = "live " + mood;
}

let source;
function follow() {
  source?.close();
  if (!live || document.hidden) return;
  source = new EventSource("/api/events?as=page");
  source.addEventListener("status", (event) => {
    const next = live.cloneNode(false);
    next.innerHTML = event.data;
    morph(live, next);
    say("Live", "on");
  });
  source.onerror = () => say("Not connected: figures are old", "off");
}
document.addEventListener("visibilitychange", follow);
follow();

const form = document.querySelector(".switch form");
form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const result = document.getElementById("result");
  const token = form.elements.token;
  result.className = "";
  result.textContent = "Asking…";
  try {
    const answer = await fetch(form.action, { method: "POST", headers: { authorization: "Bearer " + token.value.trim() } });
    const told = await answer.json();
    token.value = "";
    if (answer.ok) {
      result.textContent = `Done: ${told.agent} is ${told.disabled ? "disabled" : "enabled"}.`;
      form.querySelector("button").hidden = true;
      form.querySelector("a.button").textContent = "Close";
    } else {
      result.className = "bad";
      result.textContent = told.message;
      token.focus();
    }
  } catch {
    result.className = "bad";
    result.textContent = "tollgate did not answer; nobody knows whether it was done.";
  }
});
