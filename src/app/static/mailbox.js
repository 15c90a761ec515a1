// Refresh the list of caught mails while the page is visible.
"use strict";

const POLL_INTERVAL = 4000; // milliseconds

async function refresh() {
  const shown = document.getElementById("mails");
  if (document.hidden) return;
  const { newest } = await (await fetch("/mailbox/newest")).json();
  if (String(newest) === shown.dataset.newest) return;
  const page = new DOMParser().parseFromString(await (await fetch("/mailbox")).text(), "text/html");
  const mails = page.getElementById("mails");
  const focused = shown.contains(document.activeElement) && document.activeElement.getAttribute("href");
  shown.dataset.newest = newest;
  shown.replaceChildren(...mails.childNodes);
  showTimes(); // site.js
  document.getElementById("news").textContent = "New mail has arrived.";
  if (focused) shown.querySelector(`a[href="${focused}"]`)?.focus();
}

setInterval(() => refresh().catch(() => {}), POLL_INTERVAL);
document.addEventListener("visibilitychange", () => refresh().catch(() => {}));
