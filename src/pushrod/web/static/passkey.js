'use strict';
// Asks the browser for a passkey, and sends its answer by the form.
const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
  .replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
for (const form of document.querySelectorAll('form[data-passkey]')) {
  const say = (words) => { document.getElementById('passkey-state').textContent = words; };
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const asked = JSON.parse(form.dataset.question);
    form.elements.challenge.value = asked.challenge;
    asked.challenge = bytes(asked.challenge);
    for (const one of asked.excludeCredentials ?? []) one.id = bytes(one.id);
    if (asked.user) asked.user.id = bytes(asked.user.id);
    try {
      const made = await navigator.credentials[form.dataset.passkey === 'create' ? 'create' : 'get']({ publicKey: asked });
      const response = {};
      for (const name of ['clientDataJSON', 'attestationObject', 'authenticatorData', 'signature', 'userHandle']) {
        if (made.response[name]) response[name] = text(made.response[name]);
      }
      const answer = { id: made.id, rawId: text(made.rawId), type: made.type, response, clientExtensionResults: {} };
      form.elements.credential.value = JSON.stringify(answer);
    } catch (error) {
      say(`The browser gave no passkey: ${error.message}`);
      return;
    }
    form.submit();
  });
}
