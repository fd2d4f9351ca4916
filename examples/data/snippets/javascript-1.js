const button = document.querySelector('#save');
const status = document.querySelector('#status');

button.addEventListener('click', async () => {
  button.disabled = true;
  const response = await fetch('/api/notes', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ text: document.querySelector('#note').value }),
  });
  status.textContent = response.ok ? 'Saved' : 'Not saved, please try again';
  button.disabled = false;
});
