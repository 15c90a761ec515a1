// Enhancements. Every page works without them.
"use strict";

// Screen readers announce changes in a live region, but not its initial content.
for (const region of document.querySelectorAll(".flashes")) {
  const flashes = [...region.children];
  setTimeout(() => region.replaceChildren(...flashes), 150);
}

// After an invalid form, focus the first field with an error.
document.querySelector("[aria-invalid=true]")?.focus();

// Show and hide passwords. They are hidden again before they are sent, so that browsers store them as passwords.
for (const button of document.querySelectorAll(".reveal")) {
  const input = document.getElementById(button.getAttribute("aria-controls"));
  const [reveal, hide] = [button.textContent, button.dataset.other];
  const show = (shown) => {
    input.type = shown ? "text" : "password";
    button.textContent = shown ? hide : reveal;
  };
  button.classList.add("ready");
  button.addEventListener("click", () => show(input.type === "password"));
  input.form.addEventListener("submit", () => show(false));
}

// Show times in the language of the page and in the reader's time zone; recent ones as "3 minutes ago".
const page = document.documentElement;
const regional = navigator.languages.find((name) => name.split("-")[0] === page.lang) ?? page.lang;
const exact = new Intl.DateTimeFormat(regional, { dateStyle: "medium", timeStyle: "short", timeZone: page.dataset.timezone });
const relative = new Intl.RelativeTimeFormat(page.lang, { numeric: "auto" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", Infinity]]; // and their seconds
const RELATIVE_DAYS = 7;
function showTimes() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    const seconds = Math.max(Math.round((Date.now() - moment) / 1000), 0);
    const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? UNITS.at(-1);
    const ago = relative.format(-Math.floor(seconds / length), unit);
    time.title = exact.format(moment);
    time.textContent = seconds < RELATIVE_DAYS * 86400 ? ago : time.title;
  }
}
showTimes();
setInterval(showTimes, 60_000);

// Show how many characters are left, counted by code point as on the server.
const NEAR = 20; // from here on, screen readers announce how many are left
for (const box of document.querySelectorAll("textarea[data-limit]")) {
  const limit = Number(box.dataset.limit);
  const counter = document.getElementById(`${box.id}-left`);
  const count = () => {
    const left = limit - [...box.value].length;
    counter.textContent = (left < 0 ? box.dataset.over : box.dataset.left).replace("{num}", Math.abs(left));
    counter.classList.toggle("counter-over", left < 0);
    counter.setAttribute("aria-live", left <= NEAR ? "polite" : "off");
  };
  box.addEventListener("input", count);
  count();
}

// The box for a post grows with its text, and Ctrl+Enter sends it.
for (const box of document.querySelectorAll(".compose textarea")) {
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) box.form.requestSubmit();
  });
  if (CSS.supports("field-sizing", "content")) continue;
  const grow = () => {
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight + box.offsetHeight - box.clientHeight}px`;
  };
  box.addEventListener("input", grow);
  grow();
}

// What was typed in a post survives a reload, an ended login and an error page: this browser keeps it for the
// account until the post is live or somebody logs out.
const account = document.body.dataset.account;
function kept(act) {
  try {
    return act(localStorage);
  } catch {
    return null; // the browser stores nothing for this site, or has no room
  }
}
function forgetDrafts() {
  kept((store) => {
    const ours = Object.keys(store).filter((key) => key.startsWith(`draft:${account}:`));
    for (const key of [...ours, "sent"]) store.removeItem(key);
  });
}
function forgetSent() {
  kept((store) => {
    store.removeItem(store.getItem("sent"));
    store.removeItem("sent");
  });
}
function keepDraft(box) {
  let key = `draft:${account}:${box.form.getAttribute("action")}`;
  if (box.defaultValue) {
    // It came back, perhaps to another box than the one it was typed in, whose own draft it must not replace.
    if (kept((store) => store.getItem(key))) key = kept((store) => store.getItem("sent")) ?? key;
    else forgetSent();
  } else if (!box.value) box.value = kept((store) => store.getItem(key)) ?? "";
  const keep = () => kept((store) => (box.value ? store.setItem(key, box.value) : store.removeItem(key)));
  box.addEventListener("input", keep);
  box.form.addEventListener("submit", () => kept((store) => store.setItem("sent", key)));
  box.dispatchEvent(new Event("input"));
}
if (account) {
  if (document.querySelector(".flash.posted")) forgetSent();
  document.querySelectorAll("textarea[name=post]").forEach(keepDraft);
  for (const form of document.querySelectorAll("form[action='/logout'], form[action='/delete_account']")) {
    form.addEventListener("submit", forgetDrafts);
  }
}

// Follow and unfollow in place: the form is sent as it would be without JavaScript, and the page that comes back says
// whether it worked.
async function follow(button) {
  const body = new URLSearchParams(new FormData(button.form));
  body.set("next", location.pathname + location.search);
  const changed = button.hasAttribute("formaction") ? [button, "formaction"] : [button.form, "action"];
  const path = changed[0].getAttribute(changed[1]);
  const response = await fetch(path, { method: "POST", body });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const flashes = [...page.querySelectorAll(".flashes > .flash")];
  const refused = !response.ok || new URL(response.url).pathname !== location.pathname;
  if (refused || flashes.some((flash) => flash.matches(".flash-danger, .flash-warning"))) throw new Error(path);
  changed[0].setAttribute(changed[1], path.startsWith("/un") ? path.replace("/un", "/") : path.replace("/", "/un"));
  const text = button.textContent;
  button.textContent = button.dataset.other;
  button.dataset.other = text;
  button.classList.toggle("button-quiet");
  document.querySelector(".flashes").replaceChildren(...flashes);
  const counts = page.getElementById("counts");
  if (counts) document.getElementById("counts")?.replaceWith(counts);
}
document.addEventListener("submit", async (event) => {
  const button = event.submitter;
  if (!button?.classList.contains("follow")) return;
  event.preventDefault();
  if (button.getAttribute("aria-busy")) return;
  const place = button.closest(".person") ?? button.form;
  place.querySelector(".flash")?.remove();
  button.setAttribute("aria-busy", "true");
  try {
    await follow(button);
  } catch {
    const failure = document.createElement("p");
    failure.className = "flash flash-danger";
    failure.setAttribute("role", "alert");
    failure.textContent = button.form.dataset.failed;
    place.append(failure);
  }
  button.removeAttribute("aria-busy");
});
