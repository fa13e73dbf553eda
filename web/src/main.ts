import { mount } from 'svelte'

import App from './App.svelte'
import './app.css'
import './shell/look.svelte' // before anything is shown

const target = document.getElementById('app')
if (target === null) throw new Error('the document has no element #app')

export default mount(App, { target })
