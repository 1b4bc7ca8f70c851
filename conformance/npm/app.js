// A SMART app of one page on the npm library fhirclient. launch.html starts it; app.html is where it comes back.
// What it did stands in #result as JSON, so that a test, or a person, can read it.

const settings = new URLSearchParams(location.search);

function show(result) {
  document.getElementById("result").textContent = JSON.stringify(result, null, 2);
  document.body.dataset.state = result.error ? "failed" : "done";
}

// launch.html?iss=... (standalone) or ?iss=...&launch=... (from an EHR); &client= and &scope= say as whom and for what.
function launch() {
  const options = {
    clientId: settings.get("client") || "browser-app",
    scope: settings.get("scope") || "launch/patient openid fhirUser offline_access patient/*.rs",
    redirectUri: new URL("app.html", location.href).href,
    pkceMode: "required",
  };
  if (!settings.get("launch")) {
    options.iss = settings.get("iss");
  }
  FHIR.oauth2.authorize(options).catch((error) => show({ error: String(error) }));
}

// app.html: reads the patient, searches, refreshes and reads again.
async function ready() {
  if (settings.get("error")) {
    show({ error: settings.get("error"), iss: settings.get("iss") });
    return;
  }
  try {
    const client = await FHIR.oauth2.ready();
    const first = client.state.tokenResponse;
    const patient = await client.patient.read();
    const conditions = await client.request("Condition?patient=" + client.patient.id, { flat: true }).catch((e) => ({ refused: e.status || String(e) }));
    const user = client.user.fhirUser ? await client.user.read().catch((e) => ({ refused: e.status || String(e) })) : null;
    let refreshed = null;
    if (first.refresh_token) {
      await client.refresh();
      const again = await client.patient.read();
      refreshed = { changed: client.state.tokenResponse.access_token !== first.access_token, patient: again.id };
    }
    show({
      scope: first.scope,
      patient: patient.id,
      encounter: first.encounter || null,
      needPatientBanner: first.need_patient_banner,
      fhirUser: client.user.fhirUser,
      user: user && (user.refused || user.resourceType),
      conditions: Array.isArray(conditions) ? conditions.filter((r) => r.resourceType === "Condition").map((r) => r.id) : conditions,
      refreshed,
      offline: Boolean(first.refresh_token),
    });
  } catch (error) {
    show({ error: String(error && error.message || error) });
  }
}
